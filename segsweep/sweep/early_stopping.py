"""Early stopping among the tuning trials of one cell, never between cells: a weak source is measured, not pruned."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean, median
from typing import Any, Protocol

from segsweep.config.early_stopping import EarlyStopping, PerCellASHA, PerCellMedian, PerCellRacing
from segsweep.config.keep import SMOOTHED, Reading
from segsweep.sweep.decisions import Verdict

Curve = dict[int, Reading]
BENDS = 5  # minimum number of second differences for an estimate of a reading's error


@dataclass
class CellCurves:
    """The curves of one cell's tuning trials by trial id, without failed trials, and the ids of stopped trials."""

    curves: dict[str, Curve] = field(default_factory=lambda: defaultdict(dict))
    stopped: set[str] = field(default_factory=set)


class StoppingRule(Protocol):
    """Decides from the curves of one cell's trials whether a trial continues, stops, or pauses until others have progressed."""

    def decide(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> Verdict:
        """Return the verdict on a trial of `planned` epochs after `epoch`, which is in its curve.

        For a paused trial it is called again whenever the cell has new readings.
        """


class AshaRule:
    """See `PerCellASHA`."""

    def __init__(self, settings: PerCellASHA) -> None:
        self._settings = settings

    def decide(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> Verdict:  # noqa: ARG002
        """Stop a trial that is not among the best of its cell at a rung; between rungs every trial continues."""
        rung = self._settings.grace_epochs
        while rung < epoch:
            rung *= self._settings.reduction_factor
        if rung != epoch:
            return Verdict.CONTINUE
        reading = number(cell.curves[trial][epoch])
        others = [number(curve[epoch]) for name, curve in cell.curves.items() if epoch in curve and name != trial]
        better = sum(other > reading for other in others)
        return _continue_if(better < max(1, (len(others) + 1) // self._settings.reduction_factor))


class MedianRule:
    """See `PerCellMedian`."""

    def __init__(self, settings: PerCellMedian) -> None:
        self._settings = settings

    def decide(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> Verdict:  # noqa: ARG002
        """Stop a trial whose best reading so far is below the median of the other trials' running averages."""
        if epoch < self._settings.grace_epochs:
            return Verdict.CONTINUE
        averages = []
        for name, curve in cell.curves.items():
            if name != trial and max(curve, default=0) >= epoch:
                readings = [number(found) for at, found in curve.items() if at <= epoch]
                averages.append(min(fmean(readings), max(readings)))  # a mean rounded up would make equal curves stop each other
        if len(averages) < self._settings.min_trials:
            return Verdict.CONTINUE
        best = max(number(found) for at, found in cell.curves[trial].items() if at <= epoch)
        return _continue_if(best >= median(averages))


class RacingRule:
    """See `PerCellRacing`."""

    def __init__(self, settings: PerCellRacing) -> None:
        self._settings = settings

    def decide(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> Verdict:  # noqa: ARG002
        """Stop a trial that another running or finished trial leads by more than the margin plus the reading error."""
        trial_curve = cell.curves[trial]
        estimate = reading_error(cell.curves.values())
        error = self._settings.reading_error if estimate is None else estimate
        for name, curve in cell.curves.items():
            common = min(max(trial_curve), max(curve, default=0))
            if name == trial or name in cell.stopped or common < self._settings.grace_epochs:
                continue
            allowed = self._settings.margin * planned / common + error * math.sqrt(2 / min(common, SMOOTHED))
            if smoothed_to(curve, common) - smoothed_to(trial_curve, common) > allowed:
                return Verdict.STOP
        return Verdict.CONTINUE


def _continue_if(continues: bool) -> Verdict:
    return Verdict.CONTINUE if continues else Verdict.STOP


def number(found: Reading) -> float:
    """Return the value of a reading; minus infinity for NaN."""
    return -math.inf if math.isnan(found.value) else found.value


def smoothed_to(curve: Curve, epoch: int) -> float:
    """Return the mean of a curve's last `SMOOTHED` readings up to an epoch, or of all if there are fewer."""
    epochs = (at for at in range(epoch, 0, -1) if at in curve)
    return fmean(number(curve[at]) for at in islice(epochs, SMOOTHED))


def reading_error(curves: Iterable[Curve]) -> float | None:
    """Return the standard deviation of a reading's error, estimated from the second differences of the curves; None if unknown.

    The estimate uses their median absolute value, and needs at least `BENDS` second differences. A second difference of
    independent errors has six times their variance, and half of a normal distribution lies within 0.6745 standard deviations.
    The curvature of the curves adds to the estimate, which is therefore too high early in training.
    """
    found = []
    for curve in curves:
        for at in curve:
            if at - 1 in curve and at + 1 in curve:
                bend = abs(number(curve[at - 1]) - 2 * number(curve[at]) + number(curve[at + 1]))
                found += [bend] if math.isfinite(bend) else []
    return median(found) / (0.6745 * math.sqrt(6)) if len(found) >= BENDS else None


RULES: Mapping[type, Callable[[Any], StoppingRule]] = {
    PerCellASHA: AshaRule,
    PerCellMedian: MedianRule,
    PerCellRacing: RacingRule,
}


class PerCellStopping:
    """Applies the stopping rule of a study, with one set of curves per cell. Without a rule every trial continues.

    To restore its state from records, call `report` for every recorded epoch and `ended` for every ended trial, in any order.
    """

    def __init__(self, settings: EarlyStopping | None) -> None:
        self._rule: StoppingRule | None = None if settings is None else RULES[type(settings)](settings)
        self._cells: dict[str, CellCurves] = defaultdict(CellCurves)

    def report(self, cell: str, trial: str, epoch: int, found: Reading) -> None:
        """Record one epoch of a trial."""
        self._cells[cell].curves[trial][epoch] = found

    def judge(self, cell: str, trial: str, epoch: int, planned: int) -> Verdict:
        """Return the verdict on a trial of `planned` epochs after a recorded `epoch`, from the cell's current curves."""
        return Verdict.CONTINUE if self._rule is None else self._rule.decide(trial, epoch, planned, self._cells[cell])

    def ended(self, cell: str, trial: str, status: str) -> None:
        """Record how a trial ended. The curve of a failed trial is dropped so that it does not stop other trials."""
        known = self._cells[cell]
        if status == "stopped":
            known.stopped.add(trial)
        elif status != "finished":
            known.curves.pop(trial, None)

    def reopened(self, cell: str, trial: str) -> None:
        """Remove a stopped trial and its curve, because the trial is rerun."""
        known = self._cells[cell]
        known.stopped.discard(trial)
        known.curves.pop(trial, None)

    def curve(self, cell: str, trial: str) -> list[Reading]:
        """Return the readings of a trial so far, in the order of its epochs."""
        return [found for _, found in sorted(self._cells[cell].curves[trial].items())]
