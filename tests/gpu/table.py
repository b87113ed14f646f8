"""The results as a Markdown table, and the final summary."""

from collections.abc import Sequence
from pathlib import Path

from gpu.rows import Result, Row, Value, read_rows

SUMMARY_LINES = 40
MARKS = {True: "yes", False: "**no**", None: ""}


def write_table(out: Path) -> None:
    """Write `results.md` from `results.jsonl`."""
    results = list(read_rows(out / "results.jsonl"))
    lines = [verdict(results), ""]
    for part in dict.fromkeys(result.part for result in results):
        lines += [f"## {part}", "", "| what | value | unit | bound | passed |", "|---|---|---|---|---|"]
        lines += [_line(result.row) for result in results if result.part == part]
        lines.append("")
    (out / "results.md").write_text("\n".join(lines), encoding="utf-8")


def summary(out: Path) -> list[str]:
    """Return at most 40 lines: the verdict, the failures, then the main results as far as they fit."""
    results = list(read_rows(out / "results.jsonl"))
    failed = [result for result in results if result.row.passed is False]
    lines = [f"FAILED {result.part}: {_text(result.row)}"[:240] for result in failed]
    headlines = [f"{result.part}: {_text(result.row)}" for result in results if result.row.what.startswith("! ")]
    room = SUMMARY_LINES - 1
    shown = lines[: max(room - len(headlines), room // 2)]
    return [*shown, *headlines[: room - len(shown)], verdict(results)]


def verdict(results: Sequence[Result]) -> str:
    """Return how many checks passed, in one line."""
    judged = [result for result in results if result.row.passed is not None]
    failed = [result for result in judged if not result.row.passed]
    return f"{len(judged) - len(failed)} of {len(judged)} checks passed; {len(results) - len(judged)} rows are measurements."


def _line(row: Row) -> str:
    cells = (row.what.removeprefix("! "), number(row.value), row.unit, row.bound, MARKS[row.passed])
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _text(row: Row) -> str:
    bound = f" ({row.bound})" if row.bound else ""
    return f"{row.what.removeprefix('! ')}: {number(row.value)} {row.unit}".rstrip() + bound


def number(value: Value) -> str:
    """Return a value with four significant digits."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return str(value)
