"""Damaged records: the error that names a file and its remedy, and the folder into which damaged files are moved."""

import json
from pathlib import Path

from segsweep.errors import UserError
from segsweep.files import sync

ASIDE = "damaged"  # in a study's folder: damaged files, kept for inspection
STUDY, INDEX, MIRROR = "study.json", "index.jsonl", Path("wandb") / "options.json"  # in a study's folder


class DamagedRecordsError(UserError):
    """A file of records is missing or damaged.

    The message names the file, the reason and the remedy; the attributes `file` and `reason` hold the first two.
    """

    def __init__(self, file: Path, reason: str, remedy: str | None = None) -> None:
        super().__init__(f"{file}: {reason}; {remedy or remedy_of(file)}")
        self.file, self.reason = file, reason


def unreadable(file: Path, error: OSError, remedy: str | None = None) -> UserError:
    """Return the error for a file of records that the operating system cannot read.

    A missing file, or a folder in its place, is damage. A missing permission or a failing disk is not: the error is then a plain
    `UserError`, so that nothing is set aside, with the `OSError` as its cause, by which a study that pauses for the disk
    recognises it.
    """
    if isinstance(error, FileNotFoundError):
        return DamagedRecordsError(file, "is missing", remedy)
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return DamagedRecordsError(file, f"cannot be read ({error.strerror})", remedy)
    advice = "let its owner run: chmod -R a+rX" if isinstance(error, PermissionError) else "check the disk"
    user_error = UserError(f"{file}: cannot be read: {error.strerror or error}; {advice}, then run the same command again")
    user_error.__cause__ = error
    return user_error


def remedy_of(file: Path) -> str:
    """Return the remedy for a damaged file of records: the study's command, and the copy in W&B if there is one."""
    copy = copy_in_wandb(file)
    other = f"; W&B has a copy: load({copy!r})" if copy else ""
    return f"run the study's command again: it sets the file aside and runs again what only this file held{other}"


def copy_in_wandb(file: Path) -> str | None:
    """Return the address of a study's copy in W&B, for `load`; None if the study was never mirrored there."""
    for folder in list(file.parents)[:3]:
        try:
            options = json.loads((folder / MIRROR).read_text(encoding="utf-8"))
            if options["mode"] == "online" and options["project"].count("/") == 1:
                return f"wandb:{options['project']}/{folder.name}"
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def set_aside(folder: Path, path: Path) -> Path:
    """Move a damaged file or folder of a study's records to `damaged/`, and return its new path."""
    damaged = folder / ASIDE
    damaged.mkdir(exist_ok=True)
    names = (f"{path.name}{suffix}" for suffix in ("", *(f".{number}" for number in range(1, 10_000))))
    moved = next(damaged / name for name in names if not (damaged / name).exists())
    path.rename(moved)
    for changed in (damaged, path.parent):
        sync(changed)
    return moved
