"""Panels of loss per epoch: the mean over seeds, and a band from the lowest to the highest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segsweep.report.page.drawing import colour
from segsweep.report.page.figure import Numbers, figure
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.panels import FRAME, panel, panel_grid
from segsweep.report.page.scales import Scale, linear, logarithmic

TICKS = 3
POINTS = 60  # per curve at most: a panel is 220 units wide
WIDE_RANGE = 10  # smallest ratio of losses on a logarithmic axis


@dataclass(frozen=True)
class Curve:
    """A loss per epoch over the seeds of a cell: `epochs`, `mean`, `low` and `high` have equal length."""

    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class CellCurves:
    """The training loss (solid) and the validation loss (dotted) of a cell, in the colour of its source."""

    cell: str
    source: int
    training: Curve
    validation: Curve


def curves_figure(cells: Sequence[CellCurves], caption: str) -> Markup:
    """Return a panel per cell, all with the same axes, the caption and the table. Needs a cell with a finite loss."""
    curves = [curve for cell in cells for curve in (cell.training, cell.validation)]
    epochs = [float(epoch) for curve in curves for epoch in curve.epochs]
    losses = [loss for curve in curves for loss in (*curve.mean, *curve.low, *curve.high) if math.isfinite(loss)]
    x = linear(epochs, FRAME.left, FRAME.right, TICKS)
    make = logarithmic if min(losses) > 0 and max(losses) > WIDE_RANGE * min(losses) else linear
    y = make(losses, FRAME.bottom, FRAME.top, ticks=TICKS)
    return figure(panel_grid([_panel(cell, x, y) for cell in cells]), caption, _numbers(cells))


def _panel(cell: CellCurves, x: Scale, y: Scale) -> Markup:
    drawn = [_curve(curve, dotted, x, y) for curve, dotted in ((cell.training, False), (cell.validation, True))]
    what = f"training loss ends at {_last(cell.training)}, validation loss at {_last(cell.validation)}"
    marks = element("g", *drawn, class_=colour(cell.source), data_s=cell.source)
    return panel(cell.cell, what, x, y, "epoch", marks)


def _curve(curve: Curve, dotted: bool, x: Scale, y: Scale) -> Markup:
    step = -(-len(curve.epochs) // POINTS)
    kept = [place for place in range(len(curve.epochs)) if place % step == 0 or place == len(curve.epochs) - 1]
    kept = [place for place in kept if math.isfinite(curve.mean[place])]
    across = [x(curve.epochs[place]) for place in kept]

    def joined(values: Sequence[float], places: Sequence[int]) -> str:
        return "L".join(f"{across[place]:.0f} {y(values[kept[place]]):.0f}" for place in places)

    forth, back = range(len(kept)), range(len(kept) - 1, -1, -1)
    if not kept:
        return element("g")
    band = element("path", class_="area", d=f"M{joined(curve.high, forth)}L{joined(curve.low, back)}z")
    line = element("path", class_="l dotted" if dotted else "l", d=f"M{joined(curve.mean, forth)}")
    return element("g", band, line)


def _last(curve: Curve) -> str:
    return f"{curve.mean[-1]:.3g}" if curve.mean else "unknown"


def _numbers(cells: Sequence[CellCurves]) -> Numbers:
    rows = tuple((cell.cell, _last(cell.training), _last(cell.validation)) for cell in cells)
    return Numbers(("", "last training loss", "last validation loss"), rows)
