"""The section on the number of training images: a line per source in a chart per combination of the other axes, and its worth."""

import math
from collections.abc import Iterator, Mapping, Sequence

from segsweep.report.answer.limits import chance_text
from segsweep.report.answer.worth import PARTS, Worth, worth_text, worths
from segsweep.report.comparison import comparison_lines
from segsweep.report.page.document import Section
from segsweep.report.page.lines import Line, Lines, Point, lines_figure
from segsweep.report.page.markup import Markup, element, markup
from segsweep.report.page.study_view import StudyView
from segsweep.report.page.worth_chart import WorthChart, WorthRow, worth_figure

CHARTS = 12  # at most; the table has all cells
WORTH_CAPTION = (
    "Point: with so many images the reference scores as the source does with those at the upright tick; line: 95 % set; arrow: "
    "the set has no end among the numbers that were tried."
)


def data_section(view: StudyView) -> Section | None:
    """Return the charts; None unless confirmed cells have at least two numbers of training images by a compared axis."""
    images = {cell.cell: view.mean_of_runs("train_images", cell.cell) for cell in view.answer.confirmed}
    images = {cell: number for cell, number in images.items() if math.isfinite(number)}
    axes = [axis for axis in PARTS if axis in view.answer.design.varied]
    if not axes or len(set(images.values())) < 2:
        return None
    panels = _panels(view, list(images), [axis for axis in view.axes if axis not in (*axes, view.group_axis)])
    charts = [_figure(view, images, cells, name) for name, cells in panels.items()]
    terms = [element("p", line) for line in comparison_lines(view.records) if line.startswith(("Fractions", "Development"))]
    content = markup(terms, charts[:CHARTS], _worth(view))
    return Section("data", f"{view.measure} and the number of training images", content)


def _panels(view: StudyView, cells: Sequence[str], others: Sequence[str]) -> Mapping[str, list[str]]:
    """Return the cells of every combination of levels on the other axes, by its label."""
    panels: dict[str, list[str]] = {}
    for cell in cells:
        panels.setdefault(", ".join(view.setting(cell, axis) for axis in others), []).append(cell)
    return panels


def _figure(view: StudyView, images: Mapping[str, float], cells: Sequence[str], name: str) -> Markup:
    found = []
    for level, number in view.groups.items():
        own = sorted((cell for cell in cells if view.level(cell, view.group_axis) == level), key=images.__getitem__)
        if own:
            points = tuple(_point(view, cell, images[cell]) for cell in own)
            found.append(Line(view.answer.level(view.group_axis, level), number, points))
    title = f"{view.measure} by number of training images" + (f", {name}" if name else "")
    caption = f"Bars: 95 % intervals over {chance_text(view.answer)}, each point alone. The horizontal axis is logarithmic."
    figure = lines_figure(Lines(title, f"{view.measure}, points", tuple(found)), caption)
    return markup(element("h3", name), figure) if name else figure


def _point(view: StudyView, cell: str, images: float) -> Point:
    found = view.answer.cell(cell)
    low, high = found.interval if math.isfinite(found.half) else (math.nan, math.nan)
    return Point(images, 100 * found.estimate, (100 * low, 100 * high))


def _worth(view: StudyView) -> Markup | None:
    """Return how many images each source is worth, averaged over all other axes; None if the study does not tell."""
    found = worths(view.records, view.answer)
    if not found:
        return None
    reference = view.answer.level("source", view.answer.design.reference("source"))
    tried = tuple(sorted({*found[0].saved.tried, *(each.images for each in found)}))
    rows = tuple(_rows(view, found))
    chart = WorthChart(f"How many images with {reference} score as well", reference, tried, rows)
    return markup(element("h3", "How many images a source is worth"), worth_figure(chart, WORTH_CAPTION))


def _rows(view: StudyView, found: Sequence[Worth]) -> Iterator[WorthRow]:
    for each in found:
        label = f"{view.answer.level('source', each.source)}, {each.images:,.0f} images"
        number, text = view.groups.get(each.source), worth_text(view.answer, each)
        yield WorthRow(label, each.images, each.saved.estimate, each.saved.low, each.saved.high, number, text)
