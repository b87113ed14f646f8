"""Small charts of one size side by side, and the scales and axes that they share."""

from collections.abc import Sequence

from segsweep.report.page.drawing import Frame, svg, x_axis, y_axis
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.scales import Scale

WIDTH, HEIGHT = 220, 150  # of a panel, in units; the style sheet puts as many side by side as there is room
FRAME = Frame(34, WIDTH - 8, 8, HEIGHT - 34)


def panel(title: str, description: str, x: Scale, y: Scale, across: str, *marks: Markup | None) -> Markup:
    """Return a chart with a heading above it. `x` and `y` are scales into `FRAME`; `across` names the horizontal axis."""
    drawn = svg(title, description, WIDTH, HEIGHT, x_axis(x, FRAME, across), y_axis(y, FRAME, ""), *marks, class_="chart panel")
    return element("div", element("h4", title), drawn)


def panel_grid(panels: Sequence[Markup]) -> Markup:
    """Return panels in lines of as many as there is room for."""
    return element("div", *panels, class_="panels")
