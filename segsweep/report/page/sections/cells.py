"""The section with the table of all cells."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from segsweep.report.answer.answer import CellAnswer
from segsweep.report.answer.limits import chance_text
from segsweep.report.cells import tuned_axes
from segsweep.report.layout import HEADINGS, text
from segsweep.report.page.cell_table import CellRow, CellTable, Column, Entry, cell_table
from segsweep.report.page.costs import Costs, cell_costs
from segsweep.report.page.document import Section
from segsweep.report.page.markup import Markup, element, markup
from segsweep.report.page.score_bar import Score
from segsweep.report.page.study_view import StudyView
from segsweep.report.published_comparison import beside_published

MILLION = 1e6
UNKNOWN = "–"


def cells_section(view: StudyView) -> Section:
    """Return the table of cells, from the highest score, and the explanation of its marks."""
    costs, published = cell_costs(view.records), _published(view)
    rows = [_row(cell, view, costs, published) for cell in view.ranked]
    columns = tuple(_columns(view, costs, published))
    known = [place for place in range(len(columns)) if any(row.entries[place].text != UNKNOWN for row in rows)]
    kept = tuple(replace(row, entries=tuple(row.entries[place] for place in known)) for row in rows)
    table = CellTable(tuple(view.axes), view.measure, tuple(columns[place] for place in known), kept)
    return Section("cells", "All cells", markup(cell_table(table), element("p", element("small", *_key(view, published)))))


def _columns(view: StudyView, costs: Costs, published: Mapping[str, float]) -> Iterator[Column]:
    for axis in tuned_axes(view.records):
        yield Column(axis, HEADINGS.get(axis, axis.replace("_", " ")), "the chosen value; * at the edge of the tried values")
    yield Column("trainable", "trainable", "trainable parameters, in millions")
    yield Column("ms", "ms/image", "time of a prediction")
    yield Column("cost", costs.unit, "time of the cell's own trials, and its share of the sources that it uses")
    yield Column("seeds", "runs", "finished confirmed runs of those planned")
    if published:
        yield Column("published", "published")


def _row(cell: CellAnswer, view: StudyView, costs: Costs, published: Mapping[str, float]) -> CellRow:
    name = cell.cell
    row = view.row(name)
    edges = str(row["at_edge"]).split(",")
    tuned = [_tuned(row[axis], axis in edges) for axis in tuned_axes(view.records)]
    own, shared = float(costs.own[name]), float(costs.shared[name])
    aside = f"+ {_time(shared)} shared" if shared else ""
    entries = (
        *tuned,
        *_speed(view, name),
        Entry(_time(own), own, aside) if own else Entry(UNKNOWN),
        Entry(f"{row['seeds']} of {row['seeds_planned']}", float(row["seeds"])),
        *([_number(100 * published.get(name, math.nan), 1)] if published else []),
    )
    settings = tuple(view.setting(name, axis) for axis in view.axes)
    return CellRow(settings, _score(cell, view, published), _verdict(cell, view, row), entries, view.group(name))


def _score(cell: CellAnswer, view: StudyView, published: Mapping[str, float]) -> Score | None:
    """Return a cell's score; without an interval if its records lack counts per image, None without a finished run."""
    reported = 100 * published.get(cell.cell, math.nan)
    if not cell.units:
        mean = 100 * float(view.row(cell.cell)["test_iou"]) if view.answer.measure == "iou" else math.nan
        return None if math.isnan(mean) else Score(mean, (math.nan, math.nan), published=reported)
    low, high = cell.interval if math.isfinite(cell.half) else (math.nan, math.nan)
    best = view.answer.decides and cell.beaten_by is None
    return Score(100 * cell.estimate, (100 * low, 100 * high), tuple(100 * value for value in cell.per_unit), best, reported)


def _verdict(cell: CellAnswer, view: StudyView, row: "pd.Series[Any]") -> str:
    """Return what the answer says on a cell; nothing where the seeds do not decide it."""
    if not cell.units:
        without = "no counts per image" if row["seeds"] else "no finished run yet"
        return str(row["note"]) or without
    if not view.answer.decides or len(view.answer.confirmed) < 2:
        return ""
    if cell.beaten_by is not None:
        return "lower"
    return "best" if len(view.answer.best) == 1 else "among the best"


def _tuned(value: object, at_edge: bool) -> Entry:
    shown = text(value) or UNKNOWN
    number = float(value) if isinstance(value, int | float) and not pd.isna(value) else None
    return Entry(shown + "*" * at_edge, number)


def _speed(view: StudyView, cell: str) -> list[Entry]:
    """Return the trainable parameters, with those of the whole model where parts are frozen, and the time per image."""
    trainable, total = (view.mean_of_runs(name, cell) for name in ("trainable_parameters", "total_parameters"))
    each = 1000 * view.mean_of_runs("predict_seconds", cell) / view.mean_of_runs("test_images", cell)
    aside = f"of {total / MILLION:.1f} M" if trainable < total else ""
    parameters = Entry(UNKNOWN) if math.isnan(trainable) else Entry(f"{trainable / MILLION:.1f} M", trainable, aside)
    return [parameters, _number(each, 1)]


def _number(value: float, decimals: int) -> Entry:
    return Entry(UNKNOWN) if math.isnan(value) else Entry(f"{value:,.{decimals}f}", value)


def _time(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _published(view: StudyView) -> dict[str, float]:
    """Return the published number of the answer's measure for every cell that has one."""
    rows, measure = beside_published(view.records), f"test_{view.answer.measure}_published"
    if measure not in rows:
        return {}
    return {str(cell): float(value) for cell, value in zip(rows["cell"], rows[measure], strict=True) if cell}


def _key(view: StudyView, published: Mapping[str, float]) -> list[Markup | str]:
    parts = [
        f"{view.measure} in points of 100. Line: 95 % interval over {chance_text(view.answer)}, each cell alone; ticks: seeds."
    ]
    if view.answer.decides:
        parts.append("Filled: among the best, because no other cell is shown to score higher (all cells together at 95 %).")
    if published:
        parts.append("Diamond: published.")
    return [" ".join(parts)]
