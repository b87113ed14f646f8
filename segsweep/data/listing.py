"""What lies in a folder: pictures, lists with one entry a line, and names that differ in case alone."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from segsweep.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")
OF_THE_SYSTEM = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir")  # what operating systems leave in folders
SHOWN = 3  # files in a line


def lines(path: Path) -> list[str]:
    """Return the lines that are not blank, stripped. Raises `UserError` that names the file when it is no UTF-8 text."""
    return [text for _, text in numbered_lines(path)]


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that are not blank, stripped, each with its number from 1. Raises `UserError` as `lines` does."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text: {error}; save it as UTF-8") from None
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in stripped if line]


def is_image_file(path: Path) -> bool:
    """Return whether a file is an image by its name, whatever the case of its ending."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def image_files_in(folder: Path) -> list[Path]:
    """Return the images of a folder by name, whatever the case of their endings; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_image_file(path) and not path.name.startswith("."))


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and in the folders below it, by name; none where there is no such folder.

    Hidden files, and those that operating systems leave in folders, are left out. Links are followed, but not back into a folder
    that holds them. Raises `UserError` for a name that is no UTF-8.
    """

    def below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
        if (here := folder.resolve()) in above:
            return
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.name.casefold() in OF_THE_SYSTEM:
                continue
            check_name(path)
            if path.is_dir():
                yield from below(path, above | {here})
            else:
                yield path

    return list(below(folder, frozenset())) if folder.is_dir() else []


def check_name(path: Path) -> None:
    """Raise `UserError` for a path that is no UTF-8, which neither records nor JSON can hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise UserError(f"{shown}: the name is no UTF-8; rename it, or its folder") from None


def counted(paths: Sequence[Path | str], root: Path, one: str, several: str) -> list[str]:
    """Return a line that says something of one file or of several, with their number and the first names; none for no file."""
    if not paths:
        return []
    names = [path if isinstance(path, str) else path.relative_to(root).as_posix() for path in paths]
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return [f"{len(names)} {one if len(names) == 1 else several}: {', '.join(names[:SHOWN])}{more}"]


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
