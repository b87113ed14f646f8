"""Damaged records: the error that names a file and the remedy, and where damaged files are moved to."""

import json
from pathlib import Path

from segsweep.errors import UserError
from segsweep.files import sync

ASIDE = "damaged"  # in a study's folder: what is damaged lies here, for whoever wants to look at it
STUDY, INDEX, MIRROR = "study.json", "index.jsonl", Path("wandb") / "options.json"  # in a study's folder


class DamagedRecordsError(UserError):
    """A file of records is missing, or does not hold the bytes that were written.

    The message names the file, what is wrong with it, and how to go on. `file` and `reason` are the first two of these.
    """

    def __init__(self, file: Path, reason: str, remedy: str | None = None) -> None:
        super().__init__(f"{file}: {reason}; {remedy or remedy_of(file)}")
        self.file, self.reason = file, reason


def unreadable(file: Path, error: OSError, remedy: str | None = None) -> UserError:
    """Return the error for a file of records that the system does not let be read.

    That is damage where something else lies in its place. For lack of a permission, or since the disk fails, it is none: nothing
    may be set aside, and what waits for the disk knows it by its cause.
    """
    if isinstance(error, FileNotFoundError):
        return DamagedRecordsError(file, "is missing", remedy)
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return DamagedRecordsError(file, f"cannot be read ({error.strerror})", remedy)
    mend = "let its owner run: chmod -R a+rX" if isinstance(error, PermissionError) else "see to the disk"
    user_error = UserError(f"{file}: cannot be read: {error.strerror or error}; {mend}, then run the same command again")
    user_error.__cause__ = error
    return user_error


def remedy_of(file: Path) -> str:
    """Return how to go on where a file of records is damaged: the study's command, and W&B where it has a copy."""
    copy = copy_in_wandb(file)
    other = f"; W&B has a copy: load({copy!r})" if copy else ""
    return f"run the study's own command again: it sets the file aside and runs again what only this file held{other}"


def copy_in_wandb(file: Path) -> str | None:
    """Return the address of a study's copy in W&B, for `load`; None where the study was never sent there."""
    for folder in list(file.parents)[:3]:
        try:
            options = json.loads((folder / MIRROR).read_text(encoding="utf-8"))
            if options["mode"] == "online" and options["project"].count("/") == 1:
                return f"wandb:{options['project']}/{folder.name}"
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def set_aside(folder: Path, path: Path) -> Path:
    """Move a damaged file or folder of a study's records to `damaged/`, and return where it lies now."""
    damaged = folder / ASIDE
    damaged.mkdir(exist_ok=True)
    names = (f"{path.name}{suffix}" for suffix in ("", *(f".{number}" for number in range(1, 10_000))))
    moved = next(damaged / name for name in names if not (damaged / name).exists())
    path.rename(moved)
    for changed in (damaged, path.parent):
        sync(changed)
    return moved
