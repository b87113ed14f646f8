"""The table of cells: settings, score with interval and bar, verdict, and further columns; sortable where scripts run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segsweep.report.page.drawing import shortened
from segsweep.report.page.markup import Markup, breakable, element, literal
from segsweep.report.page.number_text import decimals_of, signed
from segsweep.report.page.scales import Scale
from segsweep.report.page.score_bar import Score, bar_axis, bar_scale, score_bar

EXAMPLE_UNITS = 320  # room for the example of a filter


@dataclass(frozen=True)
class Column:
    """A column after the verdict: the name that filters use, its heading, and an explanation of the heading."""

    key: str
    heading: str
    help: str = ""


@dataclass(frozen=True)
class Entry:
    """A value in such a column: its text, the exact value by which rows are sorted and copied, and grey text after it."""

    text: str
    value: float | None = None
    aside: str = ""


@dataclass(frozen=True)
class CellRow:
    """A cell: its settings on the axes, its score (None: no confirmed run yet), verdict, further entries, and source number."""

    settings: tuple[str, ...]
    score: Score | None
    verdict: str
    entries: tuple[Entry, ...] = ()
    source: int | None = None


@dataclass(frozen=True)
class CellTable:
    """Cells in the order of display. `axes` name the settings, `measure` the score ("IoU"), `columns` the further entries."""

    axes: tuple[str, ...]
    measure: str
    columns: tuple[Column, ...]
    rows: tuple[CellRow, ...]

    @property
    def has_verdicts(self) -> bool:
        """Whether any cell has a verdict; otherwise the table has no column for it."""
        return any(row.verdict for row in self.rows)


def cell_table(table: CellTable) -> Markup:
    """Return the table with the tools that a script turns on: a filter, and copies as CSV and LaTeX."""
    scale = bar_scale([row.score for row in table.rows if row.score])
    body = element("tbody", (_row(row, scale, table.has_verdicts) for row in table.rows))
    caption = element("caption", f"{len(table.rows)} {'cell' if len(table.rows) == 1 else 'cells'}", class_="hidden")
    return element(
        "div",
        _tools(table),
        element(
            "div",
            element("table", caption, _head(table, scale), body, class_="cells"),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="Cells",
        ),
    )


def _tools(table: CellTable) -> Markup:
    example = " ".join(f"{axis}={value}" for axis, value in list(zip(table.axes, table.rows[0].settings, strict=True))[:2])
    hint = f"Filter, for example: {shortened(example, EXAMPLE_UNITS)}"
    field = element("input", type="search", class_="filter", placeholder=hint, aria_label="Filter cells")
    kinds = {"csv": "CSV", "latex": "LaTeX"}
    buttons = [element("button", f"Copy {name}", type="button", data_copy=kind) for kind, name in kinds.items()]
    return element("div", field, *buttons, element("span", "", role="status"), class_="tools")


def _head(table: CellTable, scale: Scale | None) -> Markup:
    axes = [_heading(axis, axis.replace("_", " "), class_="axis" if number else None) for number, axis in enumerate(table.axes)]
    score = _heading(table.measure.lower(), table.measure, class_="n")
    interval = _heading("low", "95 %", "95 % interval, each cell alone", class_="n")
    verdict = _heading("verdict", "verdict", "among the best: not beaten by any cell, all cells together at 95 %")
    hint = verdict if table.has_verdicts else None
    hidden = element("span", "score, interval and seeds as a bar", class_="hidden")
    bar = element("th", hidden, bar_axis(scale) if scale else None, scope="col")
    others = [_other_heading(column, place, table.rows) for place, column in enumerate(table.columns)]
    return element("thead", element("tr", axes, score, interval, hint, bar, others))


def _other_heading(column: Column, place: int, rows: Sequence[CellRow]) -> Markup:
    numeric = any(row.entries[place].value is not None for row in rows)
    return _heading(column.key, column.heading, column.help, "n" if numeric else None)


def _heading(key: str, text: str, hint: str = "", class_: str | None = None) -> Markup:
    high = "high" if key == "low" else None
    button = element("button", text, type="button")
    return element("th", button, scope="col", data_key=key, data_high=high, title=hint or None, class_=class_)


def _row(row: CellRow, scale: Scale | None, has_verdict: bool) -> Markup:
    first, *others = row.settings or ("",)
    more = element("small", ", ".join(others), class_="more", aria_hidden="true") if others else None
    settings = [element("th", element("div", breakable(first), more), scope="row", data_t=first if others else None)]
    settings += [element("td", text, class_="axis") for text in others]
    verdict = (
        element("td", row.verdict, class_="ok" if row.score and row.score.is_among_best else "wrap") if has_verdict else None
    )
    bar = element("td", score_bar(row.score, scale) if row.score and scale else None)
    entries = [_entry(entry) for entry in row.entries]
    return element("tr", settings, _score(row.score), verdict, bar, entries, data_s=row.source)


def _score(score: Score | None) -> list[Markup]:
    if score is None or math.isnan(score.value):
        return [element("td", "–", class_="n"), element("td", "", class_="n")]
    low, high = score.interval

    def exact(end: float) -> str | None:
        return f"{end:.6g}" if math.isfinite(end) else None

    decimals = decimals_of((high - low) / 2) if math.isfinite(high - low) else 1
    ends = f"{signed(low, decimals, plus=False)}–{signed(high, decimals, plus=False)}" if math.isfinite(high - low) else ""
    value = signed(score.value, decimals, plus=False)
    return [
        element("td", value, class_="n", data_v=exact(score.value)),
        element("td", ends, class_="n", data_v=exact(low), data_high=exact(high)),
    ]


def _entry(entry: Entry) -> Markup:
    aside = (literal(" "), element("small", entry.aside)) if entry.aside else None
    exact = None if entry.value is None else f"{entry.value:.6g}"
    return element("td", entry.text, aside, class_=None if entry.value is None else "n", data_v=exact)
