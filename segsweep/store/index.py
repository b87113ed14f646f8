"""An artifact's index, `artifact.json`: sizes and checksums of its files, content hash, metadata, and a checksum of the index."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segsweep.config.digest import digest
from segsweep.store.contents import INDEX_FILE
from segsweep.store.protocol import Progress

CHUNK_BYTES = 1 << 22
SHOWN_BYTES = 1 << 28  # least size at which a verification shows progress


class DamageError(Exception):
    """An artifact's files are damaged; the message states how."""


def write_index(folder: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Write the index of the files in a folder, and return it."""
    files = {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(folder.iterdir())}
    index = {"files": files, "content_hash": digest(files), "metadata": json.loads(json.dumps(dict(metadata)))}
    (folder / INDEX_FILE).write_text(json.dumps({**index, "checksum": _index_checksum(index)}, indent=1), encoding="utf-8")
    return index


def read_index(folder: Path) -> dict[str, Any]:
    """Return an artifact's index: `files`, `content_hash` and `metadata`. Indexes of earlier versions have no checksum.

    Raises `DamageError` for a damaged index.
    """
    content = (folder / INDEX_FILE).read_bytes()
    try:
        index: dict[str, Any] = json.loads(content.decode("utf-8"))
        checksum = index.pop("checksum", None)
        sound = index["content_hash"] == digest(index["files"]) and checksum in (None, _index_checksum(index))
        sound = sound and set(index) == {"files", "content_hash", "metadata"}
        shaped = all(isinstance(size, int) and isinstance(sha, str) for size, sha in index["files"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = shaped = False
    if not (sound and shaped):
        raise DamageError(f"{INDEX_FILE} does not match its checksum")
    return index


def _index_checksum(index: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def compare(folder: Path, files: Mapping[str, Any], what: str, progress: Progress) -> None:
    """Compare the checksums of an artifact's files. Raises `DamageError` that names the first damaged file."""
    total, before = sum(size for size, _ in files.values()), 0
    for name, (size, checksum) in files.items():

        def show(done: int, before: int = before) -> None:
            if total >= SHOWN_BYTES:
                progress(f"{what}, MB", (before + done) // 10**6, total // 10**6)

        if _checksum(folder / name, show) != checksum:
            raise DamageError(f"{name} has other bytes than were written")
        before += size


def _checksum(path: Path, show: Callable[[int], None] = lambda _: None) -> str:
    """Return the SHA-256 of a file; call `show` with the number of bytes read so far."""
    found, buffer, done = hashlib.sha256(), bytearray(CHUNK_BYTES), 0
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(buffer):
            found.update(view[:read])
            show(done := done + read)
    return found.hexdigest()
