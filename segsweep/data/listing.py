"""What lies in a folder: pictures, lists with one entry a line, and names that differ in case alone."""

import unicodedata
from pathlib import Path

from segsweep.errors import UserError

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")


def lines(path: Path) -> list[str]:
    """Return the lines that are not blank, stripped. Raises `UserError` that names the file when it is no UTF-8 text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder by name, whatever the case of their endings; none where there is no such folder."""
    if not folder.is_dir():
        return []
    paths = (path for path in folder.iterdir() if path.suffix.lower() in PICTURE_ENDINGS and not path.name.startswith("."))
    return sorted(paths)


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder by name; none where there is no such folder."""
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def case_hint(path: Path) -> str:
    """Return what to say of a missing file beside which one lies whose name differs in case alone; "" without one."""
    try:
        others = [other.name for other in path.parent.iterdir() if other.name != path.name]
    except OSError:
        return ""
    alike = {other: "in case" for other in others if other.casefold() == path.name.casefold()}
    alike |= {other: "in how its accents are written" for other in others if _composed(other) == _composed(path.name)}
    return f"; {min(alike)} beside it differs {alike[min(alike)]} alone, rename one" if alike else ""


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
