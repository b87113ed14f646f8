"""A line of steps: the best score of a search so far, against the epochs that it has spent."""

from collections.abc import Sequence
from dataclasses import dataclass

from segsweep.report.page.drawing import Frame, colour, marker, responsive, row, svg, x_axis, y_axis
from segsweep.report.page.figure import Numbers, figure
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.number_text import signed
from segsweep.report.page.scales import linear

HEIGHT, AXIS_LEFT = 240, 42.0  # units


@dataclass(frozen=True)
class Steps:
    """Scores in the chart's unit, each held from its number of epochs to that of the next; at least one."""

    title: str
    measure: str
    epochs: tuple[int, ...]
    scores: tuple[float, ...]


def steps_figure(steps: Steps, caption: str, numbers: Numbers) -> Markup:
    """Return the chart for wide and narrow screens, its caption, and its table."""
    return figure(responsive(lambda width: draw_steps(steps, width)), caption, numbers)


def draw_steps(steps: Steps, width: int) -> Markup:
    """Return the chart as SVG, `width` units wide."""
    frame = Frame(AXIS_LEFT, width - 16, 26, HEIGHT - 38)
    x = linear([0.0, *map(float, steps.epochs)], frame.left, frame.right)
    y = linear(steps.scores, frame.bottom, frame.top)
    places = [(x(epochs), y(score)) for epochs, score in zip(steps.epochs, steps.scores, strict=True)]
    (left, top), *rest = places
    joined = f"M{left:.1f} {top:.1f}" + "".join(f"H{across:.1f}V{height:.1f}" for across, height in rest)
    points = [_point(*each) for each in zip(steps.epochs, steps.scores, places, strict=True)]
    line = element("g", element("path", class_="l", d=joined), *points, class_=colour(0))
    parts = (x_axis(x, frame, "epochs of all trials"), y_axis(y, frame, steps.measure), line)
    return svg(steps.title, _description(steps.epochs, steps.scores), width, HEIGHT, *parts)


def _point(epochs: int, score: float, place: tuple[float, float]) -> Markup:
    return row(f"after {epochs:,} epochs: {signed(score, plus=False)}", marker(0, *place))


def _description(epochs: Sequence[int], scores: Sequence[float]) -> str:
    first, last = (f"{signed(scores[end], plus=False)} after {epochs[end]:,} epochs" for end in (0, -1))
    return f"The best score so far: {first}, {last}"
