"""The section on the number of training images: a line per source, in a chart per combination of the other axes."""

import math
from collections.abc import Iterator

import pandas as pd

from segsweep.report.answer.matching import level_text
from segsweep.report.cells import varied
from segsweep.report.comparison import PARTS, comparison_lines
from segsweep.report.page.document import Section
from segsweep.report.page.lines import Line, Lines, Point, lines_figure
from segsweep.report.page.markup import Markup, element, markup
from segsweep.report.page.study_view import StudyView

CHARTS = 12  # at most; the table has all cells


def data_section(view: StudyView) -> Section | None:
    """Return the charts; None unless confirmed cells have at least two numbers of training images by a compared axis."""
    cells = _cells(view)
    axes = [axis for axis in PARTS if axis in view.axes]
    if not axes or cells["images"].nunique() < 2:
        return None
    others = [axis for axis in varied(cells, view.axes) if axis not in (*axes, view.group_axis)]
    charts = [_figure(view, rows, name) for name, rows in _panels(view, cells, others)]
    terms = [element("p", line) for line in comparison_lines(view.records) if line.startswith(("Fractions", "Development"))]
    return Section("data", f"{view.measure} and the number of training images", markup(terms, charts[:CHARTS]))


def _cells(view: StudyView) -> pd.DataFrame:
    """Return the rows of confirmed cells with `images`, the mean number of training images of their runs."""
    names = [cell.cell for cell in view.answer.confirmed]
    images = [view.mean_of_runs("train_images", name) for name in names]
    return view.table.loc[names].assign(images=images).dropna(subset=["images"])


def _panels(view: StudyView, cells: pd.DataFrame, others: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    if not others:
        yield "", cells
        return
    for _, rows in cells.groupby(cells[others].map(level_text).agg(" ".join, axis=1), sort=False):
        yield ", ".join(view.setting(str(rows["cell"].iloc[0]), axis) for axis in others), rows


def _figure(view: StudyView, rows: pd.DataFrame, name: str) -> Markup:
    found = []
    for text, number in view.groups.items():
        of_group = rows[rows[view.group_axis].map(level_text) == text].sort_values("images")
        if len(of_group):
            points = tuple(_point(view, str(row["cell"]), float(row["images"])) for _, row in of_group.iterrows())
            found.append(Line(view.answer.level(view.group_axis, text), number, points))
    title = f"{view.measure} by number of training images" + (f", {name}" if name else "")
    covered = "seeds and test images" if view.answer.covers_seeds else "test images"
    caption = f"Bars: 95 % intervals over {covered}, each point alone. The horizontal axis is logarithmic."
    figure = lines_figure(Lines(title, f"{view.measure}, points", tuple(found)), caption)
    return markup(element("h3", name), figure) if name else figure


def _point(view: StudyView, cell: str, images: float) -> Point:
    found = view.answer.cell(cell)
    low, high = found.interval if math.isfinite(found.half) else (math.nan, math.nan)
    return Point(images, 100 * found.estimate, (100 * low, 100 * high))
