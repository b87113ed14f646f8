"""The folder that a command writes into: new, so that nothing of before is among what it wrote."""

from pathlib import Path

from segsweep.errors import UserError


def make_new(option: str, folder: Path) -> None:
    """Make the folder that an option names. Raises `UserError` where something is in it already, or it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option} {folder}: cannot be made: {error.strerror}") from None
    if any(folder.iterdir()):
        raise UserError(f"{option} {folder}: the folder is not empty; remove it, or name another")
