"""Whether the learning rate was tuned fairly: the tuning trials of every cell, and the cost of one rate for all cells.

All values are validation IoU, the mean over a trial's last three readings as in the choice of a setting. They come from one
tuning seed, so they have no intervals.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from segsweep.config.keep import SMOOTHED
from segsweep.records.lines import Row
from segsweep.records.study_records import Records
from segsweep.report.answer.contrasts import Contrasts, Flags
from segsweep.report.answer.questions import MATTERS
from segsweep.report.cells import having, tuned_axes
from segsweep.report.rows import plain_rows

ENDED = ("finished", "stopped", "failed", "skipped")
NAN = float("nan")


@dataclass(frozen=True)
class TriedRate:
    """A tuning trial.

    Attributes:
        rate: Value of the tuned axis.
        point: Number of the tuning point, which is the same setting in all cells.
        status: `finished`, `stopped` early, `failed` or `skipped`.
        epoch: The last epoch with a reading; 0 for none.
        value: Validation IoU at that epoch, in 0..1; NaN for none.
        predicted: IoU at the end: `value` of a finished trial; that of a stopped trial plus the mean gain of the finished trials
            of the cell after its epoch; NaN for none. The prediction is rough, for the eye.
    """

    rate: float
    point: int | None
    status: str
    epoch: int
    value: float
    predicted: float


@dataclass(frozen=True)
class RatePanel:
    """The tuning trials of one cell, or of one fold of a cell.

    Attributes:
        cell: Name of the cell.
        fold: Number of the fold; None without folds.
        tried: The ended trials, by ascending rate.
        chosen: The chosen rate; None if none could be chosen.
        at_edge: Whether the choice lies at an edge of the tried rates.
        plateau_decades: Width of the range around the best finished trial in which neighbouring finished trials are at most the
            difference that matters below it, in powers of ten; 0 if no neighbour is, NaN without finished trials.
    """

    cell: str
    fold: int | None
    tried: tuple[TriedRate, ...]
    chosen: float | None
    at_edge: bool
    plateau_decades: float


@dataclass(frozen=True)
class OneRate:
    """The tried rate that would have cost least as the rate of all cells.

    Attributes:
        rate: The rate.
        cost: Mean over cells of the best finished trial's IoU minus that at the rate, which is predicted for stopped trials.
        most: The least such cost if all stopped trials had been as bad as the worst trial of their cell.
        of_cells: The cost of each cell at the rate.
    """

    rate: float
    cost: float
    most: float
    of_cells: Mapping[str, float]


@dataclass(frozen=True)
class TunedRates:
    """The tuning of one axis in all cells; `one_rate` is None if no rate was tried in every cell that finished a trial."""

    axis: str
    panels: tuple[RatePanel, ...]
    one_rate: OneRate | None

    @property
    def at_edge(self) -> tuple[str, ...]:
        """The cells whose choice lies at an edge of the tried rates, in any fold."""
        return tuple(dict.fromkeys(panel.cell for panel in self.panels if panel.at_edge))


def tuned_rates(records: Records, axis: str = "learning_rate", matters: float = MATTERS) -> TunedRates | None:
    """Return how an axis was tuned, None if the study does not tune it or no trial has ended.

    Args:
        records: The records of a study.
        axis: A tuned axis with positive numbers.
        matters: Least difference in IoU that matters.
    """
    if axis not in tuned_axes(records):
        return None
    panels = tuple(panel for choice in records.choices.values() if (panel := _panel(records, choice, axis, matters)).tried)
    return TunedRates(axis, panels, one_rate(panels)) if panels else None


def best_at_one_rate(contrasts: Contrasts, cells: Sequence[str], rate: OneRate) -> Flags:
    """Return which cells (C,) would be among the best if each lost its cost at one rate.

    `cells` are the names of the cells in the order of `contrasts.mean`. Compare with `contrasts.best()`.
    """
    costs = np.array([rate.of_cells.get(cell, 0.0) for cell in cells])
    return replace(contrasts, mean=contrasts.mean - costs).best()


def one_rate(panels: Sequence[RatePanel]) -> OneRate | None:
    """Return the rate that would have cost least as the rate of all cells, None if no rate was tried in all."""
    panels = [panel for panel in panels if np.isfinite(_best(panel))]
    common = set.intersection(*({tried.point for tried in panel.tried} for panel in panels)) if panels else set()
    costs = {point: [_cost(panel, point) for panel in panels] for point in common if point is not None}
    if not costs:
        return None
    cells = list(dict.fromkeys(panel.cell for panel in panels))
    of_cells = {
        point: {cell: fmean(cost for panel, (cost, _) in zip(panels, found, strict=True) if panel.cell == cell) for cell in cells}
        for point, found in costs.items()
    }
    best = min(sorted(costs), key=lambda point: fmean(of_cells[point].values()))
    most = min(fmean(worst for _, worst in found) for found in costs.values())
    rate = next(tried.rate for tried in panels[0].tried if tried.point == best)
    return OneRate(rate, fmean(of_cells[best].values()), most, of_cells[best])


def _best(panel: RatePanel) -> float:
    """Return the IoU of the best finished trial, NaN without one."""
    return max((tried.value for tried in _finished(panel.tried)), default=NAN)


def _finished(tried: Sequence[TriedRate]) -> list[TriedRate]:
    return [each for each in tried if each.status == "finished" and np.isfinite(each.value)]


def _cost(panel: RatePanel, point: int) -> tuple[float, float]:
    """Return what a point costs a cell, by prediction and if a trial that did not finish had been as bad as the worst."""
    best, worst = _best(panel), min(tried.value for tried in panel.tried if np.isfinite(tried.value))
    tried = next(each for each in panel.tried if each.point == point)
    predicted = tried.predicted if np.isfinite(tried.predicted) else worst
    least = predicted if tried in _finished(panel.tried) else min(predicted, worst)
    return max(best - predicted, 0.0), best - least


def _panel(records: Records, choice: Mapping[str, Any], axis: str, matters: float) -> RatePanel:
    """Return the tuning trials from which a setting was chosen."""
    trials, fold = records.trials, choice.get("fold")
    chosen = trials[trials["trial_id"] == choice["chosen"]]
    cell = choice["cell"] if chosen.empty else chosen["cell"].iloc[0]  # equal trials of several cells have the name of one
    rows = trials[(trials["phase"] == "tune") & (trials["cell"] == cell) & trials["status"].isin(ENDED)]
    rows = rows if fold is None else having(rows, {"fold": fold})
    epochs = records.epochs[records.epochs["trial_id"].isin(rows["trial_id"])].dropna(subset=["val_iou"])
    curves = {str(trial): list(zip(of["epoch"], of["val_iou"], strict=True)) for trial, of in epochs.groupby("trial_id")}
    tried = tuple(sorted(_tried(plain_rows(rows), curves, axis), key=lambda each: each.rate))
    rate = None if chosen.empty else float(chosen[axis].iloc[0])
    return RatePanel(str(choice["cell"]), fold, tried, rate, axis in choice["at_edge"], _plateau(tried, matters))


def _tried(rows: Sequence[Row], curves: Mapping[str, list[tuple[int, float]]], axis: str) -> Iterator[TriedRate]:
    """Yield the trials of one cell; `curves` has the epochs and readings of each."""
    finished = [sorted(curves[row["trial_id"]]) for row in rows if row["status"] == "finished" and row["trial_id"] in curves]
    for row in rows:
        curve = sorted(curves.get(row["trial_id"], []))
        epoch, value = (int(curve[-1][0]), _value(curve, curve[-1][0])) if curve else (0, NAN)
        gains = [_value(of, of[-1][0]) - _value(of, epoch) for of in finished if of[0][0] <= epoch]
        predicted = {"finished": value, "stopped": value + fmean(gains) if gains else NAN}.get(row["status"], NAN)
        yield TriedRate(float(row[axis]), row["point"], row["status"], epoch, value, predicted)


def _value(curve: Sequence[tuple[int, float]], epoch: int) -> float:
    """Return the mean of the last three readings until an epoch."""
    return float(fmean([value for at, value in curve if at <= epoch][-SMOOTHED:]))


def _plateau(tried: Sequence[TriedRate], matters: float) -> float:
    """Return the width of the plateau around the best finished trial, in powers of ten."""
    finished = _finished(tried)
    if not finished:
        return NAN
    best = max(finished, key=lambda each: each.value)
    position, good = tried.index(best), [each in finished and each.value >= best.value - matters for each in tried]
    low = high = position
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(tried) and good[high + 1]:
        high += 1
    return float(np.log10(tried[high].rate / tried[low].rate))
