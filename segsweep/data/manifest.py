"""The content of a data set as one digest, from a manifest that is cached by path, size and time."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from segsweep.config.digest import digest
from segsweep.data.dataset import DataSet, Progress
from segsweep.errors import UserError


def content_digest(dataset: DataSet, scheme: str, cache_folder: Path, progress: Progress) -> str:
    """Return the digest of all that the arrays of a data set depend on: its files' contents, reader and class scheme.

    File contents are read once; afterwards a file is read again only when its size or modification time has changed.
    Raises `UserError` that names a missing file.
    """
    hashes = file_hashes(
        dataset.files(), cache_folder / f"{digest([dataset.name, str(getattr(dataset, 'folder', ''))])}.json", progress
    )
    return digest([dataset.revision(), dataset.fit, scheme, list(dataset.schemes[scheme]), sorted(hashes.items())])


def file_hashes(files: Sequence[Path], cache_file: Path, progress: Progress) -> dict[str, str]:
    """Return the SHA-256 of every file by its path relative to their common folder, from the cache where it still holds."""
    if not files:
        return {}
    known = _read_cache(cache_file)
    stats = {path: _stamp(path) for path in files}
    stale = [path for path, stamp in stats.items() if known.get(str(path), [None])[:2] != stamp]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done, (path, sha) in enumerate(zip(stale, pool.map(hash_file, stale), strict=True), start=1):
            known[str(path)] = [*stats[path], sha]
            progress("reading file contents", done, len(stale))
    if stale:
        _write_cache(cache_file, {str(path): known[str(path)] for path in files})
    common = os.path.commonpath([path.parent for path in files])
    return {os.path.relpath(path, common): str(known[str(path)][2]) for path in files}


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise UserError(f"{path}: file is missing") from None
    return [stat.st_size, stat.st_mtime_ns]


def _read_cache(path: Path) -> dict[str, list[int | str]]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def _write_cache(path: Path, content: dict[str, list[int | str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)
