"""A chart of how many images a source is worth: intervals of numbers of images, with arrows at open ends."""

import math
from dataclasses import dataclass

from segsweep.report.page.drawing import NARROW, Frame, label, responsive, row, shortened, svg, text_width, x_axis
from segsweep.report.page.figure import Numbers, figure
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.scales import Scale, logarithmic

LABEL_MOST, GAP, PITCH, NARROW_PITCH, AXIS_UNITS = 230.0, 14.0, 26, 42, 40
ARROW = 7.0  # units


@dataclass(frozen=True)
class WorthRow:
    """A source with `images`, and the number of images `equals` with which the reference scores alike.

    `low`..`high` is the confidence set. 0 and infinity are below and above all tried numbers: the set is open there.
    """

    label: str
    images: float
    equals: float
    low: float
    high: float
    source: int | None = None
    text: str = ""


@dataclass(frozen=True)
class WorthChart:
    """At least one row, and the numbers of images that were tried with the reference, in ascending order."""

    title: str
    reference: str
    tried: tuple[float, ...]
    rows: tuple[WorthRow, ...]


def worth_figure(chart: WorthChart, caption: str) -> Markup:
    """Return the chart for wide and narrow screens, its caption and its table."""
    return figure(responsive(lambda width: draw_worth(chart, width)), caption, worth_numbers(chart))


def draw_worth(chart: WorthChart, width: int) -> Markup:
    """Return the chart as SVG, `width` units wide."""
    narrow = width <= NARROW
    pitch = NARROW_PITCH if narrow else PITCH
    labels = min(LABEL_MOST, max(text_width(each.label) for each in chart.rows) + GAP)
    frame = Frame(GAP if narrow else labels + GAP, width - GAP, 4, 4 + pitch * len(chart.rows))
    x = logarithmic(
        [*chart.tried, *(each.images for each in chart.rows)], frame.left + ARROW, frame.right - ARROW, at=chart.tried
    )
    rows = [_row(each, x, frame, narrow, frame.top + pitch * (number + 0.5)) for number, each in enumerate(chart.rows)]
    axis = x_axis(x, frame, f"training images with {chart.reference}")
    return svg(chart.title, "; ".join(each.text for each in chart.rows[:6]), width, frame.bottom + AXIS_UNITS, axis, *rows)


def worth_numbers(chart: WorthChart) -> Numbers:
    """Return the rows as a table."""
    ends = (chart.tried[0], chart.tried[-1])
    shown = [(each.label, *(_number(value, *ends) for value in (each.equals, each.low, each.high))) for each in chart.rows]
    return Numbers(("", f"images with {chart.reference}", "at least", "at most"), tuple(shown))


def _number(value: float, smallest: float, largest: float) -> str:
    if math.isinf(value):
        return f"more than {largest:,.0f}"
    return f"{value:,.0f}" if value else f"fewer than {smallest:,.0f}"


def _row(each: WorthRow, x: Scale, frame: Frame, narrow: bool, y: float) -> Markup:
    """Return a row: the set as a line with arrows at open ends, the estimate, and a tick at the source's own images."""
    middle = 6 if narrow else 0
    left, right = (frame.left if each.low <= 0 else x(each.low)), (frame.right if math.isinf(each.high) else x(each.high))
    line = f"M{left:.0f} {middle}H{right:.0f}"
    line += f"M{left + ARROW:.0f} {middle - 4}L{left:.0f} {middle}l{ARROW:.0f} 4" if each.low <= 0 else ""
    line += f"M{right - ARROW:.0f} {middle - 4}L{right:.0f} {middle}l-{ARROW:.0f} 4" if math.isinf(each.high) else ""
    inside = 0 < each.equals < math.inf
    marks = [
        element("path", class_="a", d=line),
        element("path", class_="s", d=f"M{x(each.images):.0f} {middle - 7}v14"),
        element("circle", cx=round(x(each.equals)), cy=middle or None, r=5, class_="dot") if inside else None,
    ]
    name = label(shortened(each.label, frame.right if narrow else frame.left - GAP), 0.0, -12 if narrow else 0)
    return row(each.text, name, *marks, source=each.source, y=y)
