"""Lines and files of JSON that carry the checksum of their bytes.

A checked line is a JSON object whose first key is `crc32`, the CRC-32 of all that follows that key: `{"crc32": "1c291ca3",
"kind": "end", ...}`. A checked file is the same over several lines. What earlier versions wrote has no checksum and is known by
its first key; nothing that differs in one bit from a checked line begins so.
"""

import json
import zlib
from pathlib import Path
from typing import Any

from segsweep.records.damage import DamagedRecordsError

Row = dict[str, Any]
LINE, FILE = b'{"crc32": "', b'{\n "crc32": "'
DIGITS = 8  # of a CRC-32 in hexadecimal
FIRST_KEYS = ("kind", "cell", "run", "schema_version")  # of what earlier versions wrote


class ChecksumError(ValueError):
    """The bytes of a line or file are not those that were written."""


def crc32(content: Any) -> str:
    """Return the CRC-32 of bytes as eight hexadecimal digits."""
    return f"{zlib.crc32(content):0{DIGITS}x}"


def with_checksum(row: Row, indent: int | None = None) -> bytes:
    """Return a row as a checked line without its end; with `indent`, as a checked file."""
    text = json.dumps({"crc32": "0" * DIGITS, **row}, allow_nan=False, ensure_ascii=False, indent=indent).encode()
    start = len(FILE if indent else LINE)
    return text[:start] + crc32(text[start + DIGITS :]).encode() + text[start + DIGITS :]


def parsed(content: bytes) -> Row:
    """Return the row that a line or file holds. Raises `ChecksumError` where it is damaged."""
    if is_checked(content):
        start = len(FILE if content.startswith(FILE) else LINE)
        if crc32(content[start + DIGITS :]).encode() != content[start : start + DIGITS]:
            raise ChecksumError("its checksum does not fit")
    elif not content.replace(b"\n ", b"").startswith(tuple(f'{{"{key}": '.encode() for key in FIRST_KEYS)):
        raise ChecksumError("its beginning is damaged")
    try:
        row = json.loads(content)
    except ValueError:
        raise ChecksumError("it cannot be read") from None
    return {name: value for name, value in row.items() if name != "crc32"}


def is_checked(content: bytes) -> bool:
    """Return whether a line or file says that it has a checksum."""
    return content.startswith((LINE, FILE))


def parsed_lines(path: Path, content: bytes) -> list[Row]:
    """Return the whole lines of a file's content; the last one counts as being written while it has no end.

    Raises `DamagedRecordsError` that names the first damaged line.
    """
    *complete, tail = content.split(b"\n")
    rows = []
    for number, line in enumerate(complete, 1):
        try:
            rows.append(parsed(line))
        except ChecksumError as error:
            raise DamagedRecordsError(path, f"line {number} is damaged ({error})") from None
    if tail and _has_lost_its_end(tail):
        raise DamagedRecordsError(path, f"line {len(complete) + 1} is damaged (its end)")
    return rows


def _has_lost_its_end(tail: bytes) -> bool:
    """Return whether a line without its end is whole but for that: one more byte is there, which is no end."""
    try:
        parsed(tail[:-1])
    except ChecksumError:
        return False
    return True
