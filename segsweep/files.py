"""Atomic, durable file writes: a reader sees the whole old file or the whole new one, and both survive a power cut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITTEN_BYTES = 1 << 20  # chunk size of `write_and_remove`


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield an empty temporary file beside `path`, which replaces `path` on success and is removed on an error.

    The new file has the permissions of the user's umask, whichever library wrote it. On return its content and then its name are
    on disk. Without `durable`, a power cut may leave a truncated file, or none.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        temporary.touch()
        permissions = temporary.stat().st_mode
        yield temporary
        set_permissions(temporary, permissions)
        if durable:
            sync(temporary)
        temporary.replace(path)
        if durable:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def set_permissions(path: Path, mode: int) -> None:
    """Set the permissions of a file if they differ: some libraries write files that only their owner can read."""
    if path.stat().st_mode & 0o777 != mode & 0o777:
        path.chmod(mode & 0o777)


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_and_remove(path: Path, size: int) -> None:
    """Write a file of `size` bytes to disk and remove it, to test for free space. Raises `OSError`."""
    try:
        with path.open("wb") as file:
            for first in range(0, size, WRITTEN_BYTES):
                file.write(bytes(min(WRITTEN_BYTES, size - first)))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)
