"""The contents of a folder: images, lists with one entry per line, and names that differ only in case."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from segsweep.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")
OF_THE_SYSTEM = (
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
)  # files that operating systems create in folders
SHOWN = 3  # files that a line names


def lines(path: Path) -> list[str]:
    """Return the lines that are not blank, stripped. Raises `UserError`, which names the file, if it is not UTF-8 text."""
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
    """Return whether a file is an image by its suffix, in any case."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def image_files_in(folder: Path) -> list[Path]:
    """Return the images of a folder in the order of names, with suffixes in any case; none if the folder does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_image_file(path) and not path.name.startswith("."))


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, in the order of names; none if the folder does not exist.

    Hidden files, and files that operating systems create in folders, are left out. Links are followed, except to a folder that
    contains them. Raises `UserError` for a name that is not UTF-8.
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
    """Raise `UserError` for a path that is not UTF-8, which neither records nor JSON can hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise UserError(f"{shown}: the name is not UTF-8; rename it, or its folder") from None


def counted(paths: Sequence[Path | str], root: Path, one: str, several: str) -> list[str]:
    """Return a line about some files, with their number and the first names; no line for no file.

    `one` is the phrase for one file, `several` the phrase for more. Paths are shown relative to `root`.
    """
    if not paths:
        return []
    names = [path if isinstance(path, str) else path.relative_to(root).as_posix() for path in paths]
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return [f"{len(names)} {one if len(names) == 1 else several}: {', '.join(names[:SHOWN])}{more}"]


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder in the order of names; none if the folder does not exist."""
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def case_hint(path: Path) -> str:
    """Return a hint for a missing file if a file beside it differs only in case or in the form of its accents; otherwise ""."""
    try:
        others = [other.name for other in path.parent.iterdir() if other.name != path.name]
    except OSError:
        return ""
    alike = {other: "in case" for other in others if other.casefold() == path.name.casefold()}
    alike |= {other: "in how its accents are written" for other in others if _composed(other) == _composed(path.name)}
    return f"; {min(alike)} beside it differs only {alike[min(alike)]}, rename one" if alike else ""


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
