"""The append-only lines of one running trial or stage, one JSON object per line; and the study's declaration."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segsweep.errors import UserError
from segsweep.files import replacing
from segsweep.records.checked import ChecksumError, Row, is_checked, parsed, parsed_lines, with_checksum
from segsweep.records.damage import INDEX, STUDY, DamagedRecordsError, unreadable
from segsweep.records.schema import SCHEMA_VERSION

__all__ = ["Row", "append_line", "declared", "plain", "read_lines", "read_study", "replace_text", "write_object"]

REWRITE = "run the study's command again: it rewrites the file"


def plain(value: Any) -> Any:
    """Return a value that JSON can represent: NaN and infinities become None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def append_line(path: Path, row: Row, durable: bool = False) -> None:
    """Append one line with its checksum in one write, after cutting off a partial line that a killed process left.

    With `durable`, return after the line is on disk.
    """
    line = with_checksum(plain(row)) + b"\n"
    with path.open("a+b") as file:
        if (size := file.seek(0, os.SEEK_END)) > 0:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def read_lines(path: Path) -> list[Row]:
    """Return the rows of all complete lines of a file, without one that is still being written; a missing file has none.

    Raises `DamagedRecordsError` for a damaged line.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # its lines have just become a part
        return []
    except OSError as error:
        raise unreadable(path, error) from error
    return parsed_lines(path, content)


def declared(folder: Path) -> bool:
    """Return whether a folder contains a study."""
    return (folder / STUDY).is_file()


def read_study(folder: Path) -> Row:
    """Return a study's declaration.

    Raises:
        DamagedRecordsError: the declaration is missing or damaged.
        UserError: the records are of a later version, and must be neither read nor changed.
    """
    return read_declaration(folder)[0]


def read_declaration(folder: Path) -> tuple[Row, bool]:
    """Return a study's declaration, and whether it has a checksum, as in all versions that keep an index of parts."""
    file = folder / STUDY
    try:
        content = file.read_bytes()
    except OSError as error:
        raise unreadable(file, error, _remedy_of_study(folder)) from error
    try:
        study = parsed(content)
        version, _ = int(study["schema_version"]), study["name"]
    except (ChecksumError, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = str(error) if isinstance(error, ChecksumError) else f"{type(error).__name__}: {error}"
        raise DamagedRecordsError(file, f"no study can be read from it ({reason})", _remedy_of_study(folder)) from None
    if version > SCHEMA_VERSION:
        raise UserError(f"{folder}: records have schema {version}, this segsweep reads {SCHEMA_VERSION}; update it")
    return study, is_checked(content)


def _remedy_of_study(folder: Path) -> str:
    return REWRITE if (folder / INDEX).is_file() else f"restore it, or move {folder} elsewhere"


def write_object(path: Path, row: Mapping[str, Any]) -> None:
    """Write one JSON object with its checksum, by rename."""
    replace_text(path, with_checksum(dict(row), indent=1).decode())


def replace_text(path: Path, content: str) -> None:
    """Write a text file by rename, so that a reader sees the whole old file or the whole new one."""
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
