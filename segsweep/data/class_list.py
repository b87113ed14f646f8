"""`classes.txt`: the names of classes, one per line, in the notations that people use."""

import re
from collections.abc import Iterable
from pathlib import Path

from segsweep.config.class_name import plain_name
from segsweep.data.dataset import IGNORE
from segsweep.data.listing import numbered_lines
from segsweep.errors import UserError

COMMENT = "#"
NUMBER_FIRST = re.compile(r"([0-9]+)(?:\s*[:;,=]\s*|[.)]\s+|\s+(?:[-\u2013]\s+)?)(\S.*)")  # 0 car, 0: car, 0,car, 0. car, 0 - car
NUMBER_LAST = re.compile(r"(.*\S)\s*[:;,=]\s*([0-9]+)")  # car: 0

Line = tuple[int, str]  # number, text


def read_classes(path: Path) -> tuple[str, ...]:
    """Return the class names of a file, in the order of their numbers.

    Lines that start with `#` are comments. A number may stand before or after the name. A last line numbered 255 names the
    ignored value and is not a class.

    Raises `UserError`, which names the line, if the numbers are not 0, 1, 2 ... in order, or if names are equal or differ only in
    case, spaces or hyphens; and for fewer than 2 or more than 255 classes.
    """
    found = [(number, text) for number, text in numbered_lines(path) if not text.startswith(COMMENT)]
    last = [NUMBER_LAST.fullmatch(text) for _, text in found]
    if found and all(last):
        named = [(number, text, match[1], int(match[2])) for (number, text), match in zip(found, last, strict=True) if match]
    else:
        named = [(number, text, *_number_first(text, index)) for index, (number, text) in enumerate(found)]
    if named and named[-1][3] == IGNORE != len(named) - 1:  # no class can have this number
        named.pop()
    for index, (number, text, _, stated) in enumerate(named):
        if stated != index:
            raise UserError(f"{path}: line {number} reads {text!r}; the classes must be numbered 0, 1, 2 ... in order")
    names = tuple(name for _, _, name, _ in named)
    check_alike(path, ((f"line {number}", name) for number, _, name, _ in named))
    if not 2 <= len(names) <= IGNORE:
        raise UserError(f"{path}: names {len(names)} classes; needs 2 to 255 different ones, one per line")
    return names


def _number_first(text: str, index: int) -> tuple[str, int]:
    """Return the name in a line and its number; the number is `index` if the line has none."""
    match = NUMBER_FIRST.fullmatch(text)
    return (match[2], int(match[1])) if match else (text, index)


def check_alike(path: Path, named: Iterable[tuple[str, str]]) -> None:
    """Raise `UserError` for two equal names, and for two names that class maps and SQL cannot distinguish.

    `named` holds pairs of a place in the file, for the message, and a name.
    """
    known: dict[str, tuple[str, str]] = {}
    for label, name in named:
        earlier, alike = known.setdefault(plain_name(name), (label, name))
        if earlier == label:
            continue
        if alike == name:
            raise UserError(f"{path}: {label} reads {name!r}, as {earlier} does; give each class a different name")
        raise UserError(
            f"{path}: {label} reads {name!r}, which differs from {alike!r} of {earlier} only in case, spaces or hyphens; "
            "rename one"
        )
