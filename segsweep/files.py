"""Writing files so that a reader sees the old one or the new one, whole, and that both survive a power cut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITTEN_BYTES = 1 << 20  # at once, by `write_and_remove`


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """Give an empty file beside a file to write to; it takes the file's place when all went well, and is removed otherwise.

    The new file has the permissions that the user's umask gives, whatever wrote it. When this returns it is on disk: its content
    before it has the name, then the name. Without `durable` a power cut may leave a part of it, or none.
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
    """Give a file some permissions, unless it has them: some libraries write files that nobody else can read."""
    if path.stat().st_mode & 0o777 != mode & 0o777:
        path.chmod(mode & 0o777)


def sync(path: Path) -> None:
    """Have the operating system put a file or a folder on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_and_remove(path: Path, size: int) -> None:
    """Write a file of `size` bytes to the disk, and remove it. Raises `OSError`."""
    try:
        with path.open("wb") as file:
            for first in range(0, size, WRITTEN_BYTES):
                file.write(bytes(min(WRITTEN_BYTES, size - first)))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)
