"""Marks of verified artifacts, kept on this machine outside the store.

Comparing the checksums of 31 GB takes a minute, so it is done once per machine and artifact. A mark is a small JSON file in the
user's cache folder with the result of `file_stamps`. It is invalid once any of these numbers differs.
"""

import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from segsweep.config.digest import digest
from segsweep.files import replacing

FileStamps = dict[str, list[int]]

_written: dict[Path, FileStamps] = {}  # marks of this process, whose cache folder may not be writable


def file_stamps(folder: Path, names: Iterable[str]) -> FileStamps:
    """Return each file's size in bytes, modification time and change time in ns, and inode, by name.

    The change time reveals a write that restored the modification time. Raises `FileNotFoundError`, which names the missing file.
    """
    stats = {name: (folder / name).stat() for name in names}
    return {name: [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for name, stat in stats.items()}


def verified_file(folder: Path) -> Path:
    """Return the path of this machine's mark for an artifact's folder, whether or not it exists."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "segsweep" / "verified" / socket.gethostname() / f"{digest(str(folder.resolve()))}.json"


def read_verified(folder: Path) -> FileStamps | None:
    """Return the file stamps of an artifact when this machine last verified it; None if it never has."""
    try:
        path = verified_file(folder)
        found: FileStamps = json.loads(path.read_text(encoding="utf-8"))["files"]
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):  # RuntimeError: there is no home folder
        return _written.get(folder)
    return found


def write_verified(folder: Path, files: FileStamps) -> None:
    """Write the mark of a verified artifact; if the cache folder is not writable, only this process remembers it."""
    _written[folder] = files
    with suppress(OSError, RuntimeError):
        path = verified_file(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=False) as temporary:
            temporary.write_text(json.dumps({"folder": str(folder.resolve()), "files": files}), encoding="utf-8")


@contextmanager
def verification_lock(folder: Path) -> Iterator[None]:
    """Hold the verification lock of an artifact on this machine: processes that waited then find its mark."""
    try:
        path = verified_file(folder).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire()
    except (OSError, RuntimeError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def forget_removed() -> None:
    """Remove this machine's marks of artifacts that no longer exist."""
    with suppress(OSError, RuntimeError):
        for path in verified_file(Path()).parent.glob("*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                if not Path(json.loads(path.read_text(encoding="utf-8"))["folder"]).exists():
                    path.unlink()
