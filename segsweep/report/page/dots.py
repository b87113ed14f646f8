"""Points with intervals both ways: a gain against a score, and a measure against cost with its Pareto front."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segsweep.report.page.drawing import (
    NARROW,
    Frame,
    colour,
    label,
    marker,
    responsive,
    row,
    shortened,
    source_key,
    svg,
    text_width,
    x_axis,
    y_axis,
)
from segsweep.report.page.figure import Numbers, figure
from segsweep.report.page.lines import AXIS_LEFT, HEIGHT, error_bar
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.number_text import interval_text, signed
from segsweep.report.page.scales import Scale, linear, logarithmic

UNKNOWN = (math.nan, math.nan)
WIDE_RANGE = 20  # largest ratio of costs on a linear axis
LABEL_UNITS, LABEL_HEIGHT = 240.0, 14.0  # most width of a point's label, and the height it needs
SIGNIFICANT = 3  # digits of the horizontal values in texts


@dataclass(frozen=True)
class Dot:
    """A point with its 95 % intervals (NaN: none), and the number of the source that gives its colour and marker.

    A hollow point has something frozen. Points whose `label` is "" have no text beside them.
    """

    name: str
    x: float
    y: float
    x_interval: tuple[float, float] = UNKNOWN
    y_interval: tuple[float, float] = UNKNOWN
    source: int = 0
    is_hollow: bool = False
    label: str = ""


@dataclass(frozen=True)
class Dots:
    """A chart of at least one point.

    With `has_front`, `x` is a cost, and a line joins the points that no other dominates. `sources` are the names of all sources
    for the key; without them there is no key.
    """

    title: str
    across: str
    upward: str
    dots: tuple[Dot, ...]
    has_front: bool = False
    has_zero: bool = False
    sources: tuple[str, ...] = ()


def dots_figure(dots: Dots, caption: str) -> Markup:
    """Return the chart for wide and narrow screens, its caption and its table."""
    key = source_key(dots.sources) if dots.sources else None
    return figure((key, responsive(lambda width: draw_dots(dots, width))), caption, dots_numbers(dots))


def draw_dots(dots: Dots, width: int) -> Markup:
    """Return the chart as SVG, `width` units wide."""
    frame = Frame(AXIS_LEFT, width - 14, 26, HEIGHT - 38)
    x, y = _scales(dots, frame, 4 if width <= NARROW else 7)
    zero = element("path", class_="zero", d=f"M{frame.left:.0f} {y(0):.1f}H{frame.right:.0f}") if dots.has_zero else None
    front = _front_line([(x(dot.x), y(dot.y)) for dot in front_of(dots.dots)], frame) if dots.has_front else None
    labels = _labels(dots.dots, frame, x, y)
    points = [_dot(dot, text, x, y) for dot, text in zip(dots.dots, labels, strict=True)]
    axes = (x_axis(x, frame, dots.across), y_axis(y, frame, dots.upward))
    return svg(dots.title, _description(dots), width, HEIGHT, *axes, zero, front, *points)


def dots_numbers(dots: Dots) -> Numbers:
    """Return the points as a table."""
    rows = [
        (dot.name, _short(dot.x), _ends(dot.x_interval), signed(dot.y, plus=dots.has_zero), interval_text(dot.y_interval))
        for dot in dots.dots
    ]
    return Numbers(("", dots.across, "95 %", dots.upward, "95 %"), tuple(rows))


def front_of(dots: Iterable[Dot]) -> list[Dot]:
    """Return the points that no other equals or beats at a lower or equal cost (`x`), in ascending order of cost."""
    front: list[Dot] = []
    for dot in sorted(dots, key=lambda dot: (dot.x, -dot.y)):
        if not front or dot.y > front[-1].y:
            front.append(dot)
    return front


def _scales(dots: Dots, frame: Frame, ticks: int) -> tuple[Scale, Scale]:
    across = [value for dot in dots.dots for value in (dot.x, *dot.x_interval) if math.isfinite(value)]
    upward = [value for dot in dots.dots for value in (dot.y, *dot.y_interval)] + [0.0] * dots.has_zero
    wide_range = dots.has_front and min(across) > 0 and max(across) > WIDE_RANGE * min(across)
    make = logarithmic if wide_range else linear
    return make(across, frame.left, frame.right, ticks=ticks), linear(upward, frame.bottom, frame.top)


def _dot(dot: Dot, text: Markup | None, x: Scale, y: Scale) -> Markup:
    left, top = x(dot.x), y(dot.y)
    low, high = dot.x_interval
    across = None if math.isnan(low) else element("path", class_="e", d=f"M{x(low):.1f} {top:.1f}H{x(high):.1f}")
    upward = None if math.isnan(dot.y_interval[0]) else error_bar(left, y(dot.y_interval[0]), y(dot.y_interval[1]))
    point = element("g", across, upward, marker(dot.source, left, top, hollow=dot.is_hollow), class_=colour(dot.source))
    title = f"{dot.name}: {signed(dot.y, plus=False)}, 95 % {interval_text(dot.y_interval)}; at {_short(dot.x)}"
    return row(title, point, text, source=dot.source)


def _labels(dots: Sequence[Dot], frame: Frame, x: Scale, y: Scale) -> list[Markup | None]:
    """Return the texts beside points: at their right, or left of points near the right edge; those without room are left out."""
    taken: list[tuple[float, float, float]] = []  # left end, right end, height
    texts: list[Markup | None] = []
    for dot in dots:
        text = shortened(dot.label, min(LABEL_UNITS, (frame.right - frame.left) / 2))
        width, left, top = text_width(text), x(dot.x), y(dot.y) - 9
        begins = left + 8 if left + 8 + width <= frame.right + 10 else left - 8 - width
        overlaps = any(
            begins < end and start < begins + width and abs(top - height) < LABEL_HEIGHT for start, end, height in taken
        )
        texts.append(None if not text or overlaps else label(text, begins, top))
        if text and not overlaps:
            taken.append((begins, begins + width, top))
    return texts


def _front_line(places: Sequence[tuple[float, float]], frame: Frame) -> Markup:
    """Return the front as steps: at each cost, the best measure that it buys."""
    (left, top), *others = places
    steps = "".join(f"H{across:.1f}V{upward:.1f}" for across, upward in others)
    return element("path", class_="front", d=f"M{left:.1f} {top:.1f}{steps}H{frame.right:.0f}")


def _short(value: float) -> str:
    return f"{value:,.{SIGNIFICANT}g}" if abs(value) < 1000 else f"{value:,.0f}"


def _ends(interval: tuple[float, float]) -> str:
    return "" if math.isnan(interval[0]) else f"{_short(interval[0])} to {_short(interval[1])}"


def _description(dots: Dots) -> str:
    described = front_of(dots.dots) if dots.has_front else dots.dots[:8]
    names = "; ".join(f"{dot.name}: {signed(dot.y, plus=False)} at {_short(dot.x)}" for dot in described[:8])
    return f"{dots.upward} against {dots.across}. {'On the front: ' if dots.has_front else ''}{names}"
