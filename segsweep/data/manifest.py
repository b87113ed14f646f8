"""One digest for the content of a dataset, from file hashes that are cached by path, size and time."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from segsweep.config.digest import digest
from segsweep.data.dataset import Dataset, Fit, Progress
from segsweep.data.disk_space import one_line_when_full
from segsweep.data.listing import case_hint, check_name
from segsweep.errors import UserError
from segsweep.store.contents import MANIFESTS
from segsweep.store.protocol import SharedText, Store


def content_digest(dataset: Dataset, scheme: str, store: Store, progress: Progress, fit: Fit | None = None) -> str:
    """Return the digest of everything on which prepared data depends: contents of files, reader, class scheme, fit, and splits.

    `fit` is by default that of the dataset. File contents are read once; later calls read a file again only if its size,
    modification time or change time differs. Raises `UserError`, which names the first missing file and the number of missing
    files, and for a name that is not UTF-8.
    """
    files = dataset.files()
    for path in files:
        check_name(path)
    cache = store.text(f"{MANIFESTS}/{digest([dataset.name, str(getattr(dataset, 'folder', ''))])}.json")
    hashes = file_hashes(files, cache, progress)
    reader = [dataset.revision(), fit or dataset.fit, scheme, list(dataset.schemes[scheme])]
    described = [[example.name, example.split, example.stratum, example.group] for example in dataset.examples()]
    divided = [list(dataset.pool), {name: [list(map(list, part)) for part in parts] for name, parts in dataset.protocols.items()}]
    return digest([*reader, described, divided, sorted(hashes.items())])


def stamp_digest(files: Sequence[Path]) -> str:
    """Return the digest of the files' sizes, modification times and change times, which differs after any change of a file.

    It differs even after a change that was reverted. Raises `UserError`, which names a missing file.
    """
    return digest(sorted((str(path), *stamp) for path, stamp in _stamps(files).items()))


def file_hashes(files: Sequence[Path], cache: SharedText, progress: Progress) -> dict[str, str]:
    """Return the SHA-256 of every file by its path relative to their common folder; unchanged files are taken from the cache."""
    if not files:
        return {}
    known = _read_cache(cache)
    stats = _stamps(files)
    stale = [path for path, stamp in stats.items() if known.get(str(path), [None])[:-1] != stamp]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done, (path, sha) in enumerate(zip(stale, pool.map(hash_file, stale), strict=True), start=1):
            known[str(path)] = [*stats[path], sha]
            progress("reading file contents", done, len(stale))
    if stale:
        _write_cache(cache, {str(path): known[str(path)] for path in files})
    common = os.path.commonpath([path.parent for path in files])
    return {os.path.relpath(path, common): str(known[str(path)][-1]) for path in files}


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes. Raises `UserError` for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: file cannot be read: {error.strerror}") from None


def _stamps(files: Sequence[Path]) -> dict[Path, list[int]]:
    """Return size, modification time and change time of files. The change time reveals a copy that keeps the other two."""
    stamps, missing = {}, []
    for path in files:
        try:
            stat = path.stat()
            stamps[path] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        except OSError:
            missing.append(path)
    if missing:
        more = f"; and {len(missing) - 1} more" if len(missing) > 1 else ""
        link = f"is a link to {missing[0].readlink()}, which is missing" if missing[0].is_symlink() else "file is missing"
        raise UserError(f"{missing[0]}: {link}{more}{case_hint(missing[0])}")
    return stamps


def _read_cache(cache: SharedText) -> dict[str, list[int | str]]:
    try:
        return dict(json.loads(cache.read()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _write_cache(cache: SharedText, content: dict[str, list[int | str]]) -> None:
    text = json.dumps(content)
    with one_line_when_full(cache.location.rpartition("/")[0], f"the list of file contents needs {len(text) / 1e6:.1f} MB"):
        cache.write(text)
