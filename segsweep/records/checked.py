"""JSON lines and files that carry a checksum of their bytes.

A checked line is a JSON object whose first key is `crc32`, the CRC-32 of all bytes after that key and its value: `{"crc32":
"1c291ca3", "kind": "end", ...}`. A checked file is the same, indented over several lines. Lines of earlier versions have no
checksum and are recognised by their first key; no checked line with one wrong bit starts with such a key.
"""

import json
import zlib
from pathlib import Path
from typing import Any

from segsweep.records.damage import DamagedRecordsError

Row = dict[str, Any]
LINE, FILE = b'{"crc32": "', b'{\n "crc32": "'  # beginnings of a checked line and a checked file
DIGITS = 8  # of a CRC-32 in hexadecimal
FIRST_KEYS = ("kind", "cell", "run", "schema_version")  # of lines and files that earlier versions wrote


class ChecksumError(ValueError):
    """The bytes of a line or file differ from those that were written."""


def crc32(content: Any) -> str:
    """Return the CRC-32 of bytes as eight hexadecimal digits."""
    return f"{zlib.crc32(content):0{DIGITS}x}"


def with_checksum(row: Row, indent: int | None = None) -> bytes:
    """Return a row as a checked line without its newline; with `indent`, as a checked file."""
    text = json.dumps({"crc32": "0" * DIGITS, **row}, allow_nan=False, ensure_ascii=False, indent=indent).encode()
    start = len(FILE if indent else LINE)
    return text[:start] + crc32(text[start + DIGITS :]).encode() + text[start + DIGITS :]


def parsed(content: bytes) -> Row:
    """Return the row in a line or file. Raises `ChecksumError` if it is damaged."""
    if is_checked(content):
        start = len(FILE if content.startswith(FILE) else LINE)
        if crc32(content[start + DIGITS :]).encode() != content[start : start + DIGITS]:
            raise ChecksumError("its checksum does not match")
    elif not content.replace(b"\n ", b"").startswith(tuple(f'{{"{key}": '.encode() for key in FIRST_KEYS)):
        raise ChecksumError("its beginning is damaged")
    try:
        row = json.loads(content)
    except ValueError:
        raise ChecksumError("it cannot be read") from None
    return {name: value for name, value in row.items() if name != "crc32"}


def is_checked(content: bytes) -> bool:
    """Return whether a line or file starts like one with a checksum."""
    return content.startswith((LINE, FILE))


def parsed_lines(path: Path, content: bytes) -> list[Row]:
    """Return the rows of all complete lines in a file's content; a last line without a newline is still being written.

    Raises `DamagedRecordsError`, which names the first damaged line.
    """
    *complete, tail = content.split(b"\n")
    rows = []
    for number, line in enumerate(complete, 1):
        try:
            rows.append(parsed(line))
        except ChecksumError as error:
            raise DamagedRecordsError(path, f"line {number} is damaged ({error})") from None
    if tail and _newline_is_damaged(tail):
        raise DamagedRecordsError(path, f"line {len(complete) + 1} is damaged (its end)")
    return rows


def _newline_is_damaged(tail: bytes) -> bool:
    """Return whether the last byte of a line is a damaged newline: without this byte the line is complete."""
    try:
        parsed(tail[:-1])
    except ChecksumError:
        return False
    return True
