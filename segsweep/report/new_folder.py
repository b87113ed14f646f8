"""The output folder of a command. It must be new or empty, so that it contains only files of this command."""

from pathlib import Path
from tempfile import NamedTemporaryFile

from segsweep.errors import UserError

ELSEWHERE = "free some space, or name another folder"  # the remedy if writing fails


def make_new(option: str, folder: Path) -> None:
    """Make the folder that an option names.

    Raises `UserError` if it is not empty, or cannot be made, listed or written.
    """
    if folder.is_file():
        raise UserError(f"{option} {folder}: is a file; name a new or empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f"{option} {folder}: the folder is not empty; remove it, or name another")
        with NamedTemporaryFile(dir=folder):  # raises before any work if the folder cannot be written
            pass
    except OSError as error:
        raise UserError(f"{option} {folder}: cannot be written: {error.strerror}; name another folder") from None
