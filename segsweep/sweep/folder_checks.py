"""Checks of the folders for records and artifacts, and of the W&B key, before a study starts."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from segsweep.errors import UserError
from segsweep.records.damage import DamagedRecordsError
from segsweep.records.driver_lock import driver_alive
from segsweep.records.lines import read_study
from segsweep.records.wandb.account import check_key
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.writer import in_use
from segsweep.store.protocol import Store


def check_mirror(mirror: MirrorOptions, folder: Path) -> None:
    """Raise `UserError` if the study folder cannot be written or made, or if an online mirror has no W&B key."""
    check_out(folder)
    if mirror.mode == "online":
        check_key()


def check_folders(folder: Path, store: Store) -> None:
    """Raise `UserError` for a study folder or a store that cannot be written, and for records of a newer version."""
    check_out(folder)
    with suppress(DamagedRecordsError):  # a run repairs the declaration, or reports what it needs for that
        if (folder / "study.json").is_file():
            read_study(folder)
    store.check_writable()


def check_out(folder: Path) -> None:
    """Raise `UserError` if a study's folder can be neither written nor made. Writes nothing."""
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise UserError(f"--out: folder {folder} cannot be created: {os.strerror(errno.ENOTDIR)}: {existing}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"--out: folder {folder} cannot be written: {os.strerror(errno.EACCES)}: {existing}")


def check_free(folder: Path) -> None:
    """Raise `UserError` if another process is running the study now."""
    if driver_alive(folder):
        raise in_use(folder)
