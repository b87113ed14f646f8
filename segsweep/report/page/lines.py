"""Lines of a measure against the number of training images, one line per source."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segsweep.report.page.drawing import (
    NARROW,
    TEXT_UNITS,
    Frame,
    colour,
    label,
    marker,
    responsive,
    row,
    shortened,
    spread,
    svg,
    text_width,
    x_axis,
    y_axis,
)
from segsweep.report.page.figure import Numbers, figure
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.number_text import interval_text, signed
from segsweep.report.page.scales import Scale, linear, logarithmic

HEIGHT, APART, AXIS_LEFT = 320, 5.0, 42.0  # units; APART separates the intervals of sources at the same number of images
LABEL_SHARE = 0.34  # of the width, at most, for the direct labels


@dataclass(frozen=True)
class Point:
    """A measure in the chart's unit at a number of images, with its 95 % interval (NaN: none)."""

    images: float
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Line:
    """The points of a source, in ascending order of images. `source` is the number of its colour and marker."""

    label: str
    source: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Lines:
    """Lines of `measure` against `across` (the name of the horizontal axis), which is logarithmic; at least one point."""

    title: str
    measure: str
    lines: tuple[Line, ...]
    across: str = "training images"


def lines_figure(lines: Lines, caption: str) -> Markup:
    """Return the chart for wide and narrow screens, its caption and its table."""
    return figure(responsive(lambda width: draw_lines(lines, width)), caption, lines_numbers(lines))


def draw_lines(lines: Lines, width: int) -> Markup:
    """Return the chart as SVG, `width` units wide."""
    room = min(LABEL_SHARE * width, max(text_width(line.label) for line in lines.lines) + 24)
    frame = Frame(AXIS_LEFT, width - room - 12, 26, HEIGHT - 38)
    images = sorted({point.images for line in lines.lines for point in line.points})
    x = logarithmic(images, frame.left, frame.right, at=images, ticks=5 if width <= NARROW else 9)
    y = linear((value for line in lines.lines for point in line.points for value in _extent(point)), frame.bottom, frame.top)
    shifts = [APART * (number - (len(lines.lines) - 1) / 2) for number in range(len(lines.lines))]
    drawn = [_line(line, shift, x, y) for line, shift in zip(lines.lines, shifts, strict=True)]
    parts = [x_axis(x, frame, lines.across), y_axis(y, frame, lines.measure), *drawn, *_labels(lines.lines, frame, y, room)]
    return svg(lines.title, _description(lines), width, HEIGHT, *parts)


def lines_numbers(lines: Lines) -> Numbers:
    """Return the points as a table."""
    rows = [
        (line.label, f"{point.images:,.0f}", signed(point.value, plus=False), interval_text(point.interval))
        for line in lines.lines
        for point in line.points
    ]
    return Numbers(("", lines.across, lines.measure, "95 %"), tuple(rows))


def error_bar(x: float, low: float, high: float) -> Markup | None:
    """Return a vertical interval between two heights; None if one of them is NaN."""
    if math.isnan(low) or math.isnan(high):
        return None
    return element("path", class_="e", d=f"M{x:.1f} {low:.1f}V{high:.1f}")


def _extent(point: Point) -> tuple[float, float, float]:
    return (point.value, *point.interval)


def _line(line: Line, shift: float, x: Scale, y: Scale) -> Markup:
    places = [(x(point.images) + shift, y(point.value)) for point in line.points]
    joined = "M" + "L".join(f"{left:.1f} {top:.1f}" for left, top in places)
    points = [
        row(
            f"{line.label}, {point.images:,.0f} {'images' if point.images != 1 else 'image'}: {signed(point.value, plus=False)}, "
            f"95 % {interval_text(point.interval)}",
            error_bar(left, y(point.interval[0]), y(point.interval[1])) if not math.isnan(point.interval[0]) else None,
            marker(line.source, left, top),
            source=line.source,
        )
        for point, (left, top) in zip(line.points, places, strict=True)
    ]
    return element("g", element("path", class_="l", d=joined), *points, class_=colour(line.source), data_s=line.source)


def _labels(lines: Sequence[Line], frame: Frame, y: Scale, room: float) -> list[Markup]:
    """Return the sources' names beside the ends of their lines, moved apart where they would overlap, with their markers."""
    heights = spread((y(line.points[-1].value) for line in lines), TEXT_UNITS + 3, frame.top, frame.bottom)
    left = frame.right + 16
    return [
        element(
            "g",
            marker(line.source, left, height),
            label(shortened(line.label, room - 20), left + 9, height),
            data_s=line.source,
        )
        for line, height in zip(lines, heights, strict=True)
    ]


def _description(lines: Lines) -> str:
    ends = (
        f"{line.label}: {signed(line.points[0].value, plus=False)} with {line.points[0].images:,.0f}, "
        f"{signed(line.points[-1].value, plus=False)} with {line.points[-1].images:,.0f}"
        for line in lines.lines
    )
    return f"{lines.measure} against {lines.across}. {'; '.join(ends)}"
