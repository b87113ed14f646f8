"""Panels of tuned values: what each cell's tuning trials reached, against the value of one tuned axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segsweep.report.page.figure import Numbers, figure
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.number_text import signed
from segsweep.report.page.panels import FRAME, panel, panel_grid
from segsweep.report.page.scales import Scale, linear, logarithmic

TICKS = 3


@dataclass(frozen=True)
class TunedTrial:
    """A tuning trial: the value of the axis, and the measure that it reached.

    A stopped trial has the epoch of its stop and, where it can be estimated, the measure that it would have reached.
    """

    value: float
    reached: float
    stopped_at: int | None = None
    expected: float = math.nan
    is_chosen: bool = False


@dataclass(frozen=True)
class TunedCell:
    """The tuning trials of a cell; `is_at_edge` where the chosen value is the lowest or highest tried."""

    cell: str
    trials: tuple[TunedTrial, ...]
    is_at_edge: bool = False


@dataclass(frozen=True)
class Tuning:
    """Cells with at least one trial, the tuned axis (positive values, logarithmic) and the measure in its unit.

    Trials within `matters` of a cell's best finished one lie in a grey band.
    """

    axis: str
    measure: str
    matters: float
    cells: tuple[TunedCell, ...]


def tuning_figure(tuning: Tuning, caption: str) -> Markup:
    """Return a panel per cell, all with the same axes, the caption and the table."""
    trials = [trial for cell in tuning.cells for trial in cell.trials]
    x = logarithmic((trial.value for trial in trials), FRAME.left, FRAME.right, ticks=TICKS)
    measures = [value for trial in trials for value in (trial.reached, trial.expected)]
    y = linear(measures, FRAME.bottom, FRAME.top, TICKS)
    return figure(panel_grid([_panel(cell, tuning, x, y) for cell in tuning.cells]), caption, tuning_numbers(tuning))


def tuning_numbers(tuning: Tuning) -> Numbers:
    """Return the trials as a table."""
    rows = [
        (cell.cell, f"{trial.value:.3g}", signed(trial.reached, plus=False), _end(trial))
        for cell in tuning.cells
        for trial in cell.trials
    ]
    return Numbers(("", tuning.axis, tuning.measure, ""), tuple(rows))


def _panel(cell: TunedCell, tuning: Tuning, x: Scale, y: Scale) -> Markup:
    finished = [trial.reached for trial in cell.trials if trial.stopped_at is None]
    what = f"{len(finished)} of {len(cell.trials)} trials finished"
    chosen = next((trial for trial in cell.trials if trial.is_chosen), None)
    if chosen:
        what += f"; chosen {tuning.axis} {chosen.value:.3g}" + (", at the edge of the tried values" if cell.is_at_edge else "")
    plateau = _plateau(max(finished), tuning.matters, y) if finished else None
    return panel(cell.cell, what, x, y, tuning.axis, plateau, *_marks(cell.trials, x, y))


def _plateau(best: float, matters: float, y: Scale) -> Markup:
    top, bottom = y(best), y(best - matters)
    return element("rect", class_="band", x=FRAME.left, y=top, width=FRAME.right - FRAME.left, height=bottom - top)


def _marks(trials: Sequence[TunedTrial], x: Scale, y: Scale) -> list[Markup]:
    return [_mark(trial, x, y) for trial in trials]


def _mark(trial: TunedTrial, x: Scale, y: Scale) -> Markup:
    """Return a trial with its tooltip. It cannot be focused: the table serves keyboards better than hundreds of stops."""
    left, top = round(x(trial.value)), round(y(trial.reached))
    parts = [element("circle", class_="hollow" if trial.stopped_at is not None else None, cx=left, cy=top)]
    if not math.isnan(trial.expected):
        parts.insert(0, element("path", class_="dash", d=f"M{left} {top}V{y(trial.expected):.0f}h-3h6"))
    if trial.is_chosen:
        parts.append(element("path", class_="chosen", d=f"M{left - 8} {top}a8 8 0 1 0 16 0a8 8 0 1 0-16 0z"))
    return element("g", element("title", f"{trial.value:.3g}: {signed(trial.reached, plus=False)}, {_end(trial)}"), *parts)


def _end(trial: TunedTrial) -> str:
    if trial.stopped_at is None:
        return "chosen" if trial.is_chosen else "finished"
    expected = "" if math.isnan(trial.expected) else f", expected {signed(trial.expected, plus=False)}"
    return f"stopped after epoch {trial.stopped_at}{expected}"
