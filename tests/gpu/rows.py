"""Rows of results: one measured or checked value each."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

Value = float | int | str | bool | None


@dataclass(frozen=True)
class Row:
    """One result: `bound` states the requirement as text, `passed` whether it is met (None without a requirement)."""

    what: str
    value: Value
    unit: str = ""
    bound: str = ""
    passed: bool | None = None


@dataclass(frozen=True)
class Result:
    """A row with the name of its part."""

    part: str
    row: Row


def at_most(what: str, value: float, bound: float, unit: str = "") -> Row:
    """Return a row that passes for a value up to the bound; NaN fails."""
    return Row(what, float(value), unit, f"<= {bound:.3g}", bool(value <= bound))


def at_least(what: str, value: float, bound: float, unit: str = "") -> Row:
    """Return a row that passes for a value of at least the bound; NaN fails."""
    return Row(what, float(value), unit, f">= {bound:.3g}", bool(value >= bound))


def equal(what: str, value: Value, expected: Value, unit: str = "") -> Row:
    """Return a row that passes for the expected value."""
    return Row(what, value, unit, f"= {expected}", value == expected)


def holds(what: str, condition: bool, detail: str = "") -> Row:
    """Return a row that passes if a condition holds."""
    return Row(what, detail or ("yes" if condition else "no"), "", "must hold", bool(condition))


def note(what: str, value: Value, unit: str = "") -> Row:
    """Return a row without a requirement."""
    return Row(what, value, unit)


def write_row(path: Path, part: str, row: Row) -> None:
    """Append a row to a JSON-lines file. Several processes may do so at the same time."""
    values = asdict(row)
    if isinstance(row.value, float) and not math.isfinite(row.value):
        values["value"] = str(row.value)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"part": part, **values}) + "\n")


def read_rows(path: Path) -> Iterator[Result]:
    """Yield the results of a JSON-lines file; nothing if the file does not exist."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        yield Result(values.pop("part"), Row(**values))
