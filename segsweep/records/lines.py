"""The append-only lines of one running trial or stage, one JSON object a line; and the study's declaration."""

import json
import math
import os
from pathlib import Path
from typing import Any

from segsweep.errors import UserError
from segsweep.files import replacing
from segsweep.records.schema import SCHEMA_VERSION

Row = dict[str, Any]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: NaN and infinities become None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def append_line(path: Path, row: Row, durable: bool = False) -> None:
    """Add one line, in one write. A part of a line that a killed process left is cut off first.

    `durable` waits until the line is on disk.
    """
    line = json.dumps(plain(row), allow_nan=False, ensure_ascii=False).encode() + b"\n"
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
    """Return the whole lines of a file; one that is still being written is left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # compacted meanwhile
        return []
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def read_study(folder: Path) -> Row:
    """Return a study's declaration.

    Raises `UserError` where it cannot be read, and for records of a later version, which must be neither read nor changed.
    """
    file = folder / "study.json"
    try:
        study: Row = json.loads(file.read_text(encoding="utf-8"))
        version, _ = int(study["schema_version"]), study["name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{file}: no study can be read from it ({reason}); restore it, or move {folder} elsewhere") from None
    if version > SCHEMA_VERSION:
        raise UserError(f"{folder}: records have schema {version}, this segsweep reads {SCHEMA_VERSION}; update it")
    return study


def write_whole(path: Path, content: str) -> None:
    """Write a text file by rename, so that a reader sees the old one or the new one."""
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
