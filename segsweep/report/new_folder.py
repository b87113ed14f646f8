"""The folder that a command writes into: new, so that nothing of before is among what it wrote."""

from pathlib import Path
from tempfile import NamedTemporaryFile

from segsweep.errors import UserError

ELSEWHERE = "make room, and name another folder"  # where it can be written no more


def make_new(option: str, folder: Path) -> None:
    """Make the folder that an option names.

    Raises `UserError` where something is in it already, and where it cannot be made, listed or written into.
    """
    if folder.is_file():
        raise UserError(f"{option} {folder}: is a file; name a folder, new or empty")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f"{option} {folder}: the folder is not empty; remove it, or name another")
        with NamedTemporaryFile(dir=folder):  # what cannot be written into is told before any work
            pass
    except OSError as error:
        raise UserError(f"{option} {folder}: cannot be written: {error.strerror}; name another folder") from None
