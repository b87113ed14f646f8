"""Early stopping among the tuning trials of one cell: never between cells, so a weak source is measured, not pruned."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Protocol

from segsweep.config.early_stopping import EarlyStopping, PerCellASHA, PerCellMedian, PerCellRacing
from segsweep.config.keep import SMOOTHED, Reading

Curve = dict[int, Reading]


@dataclass
class CellCurves:
    """The curves of one cell's tuning trials by their names, without failed trials, and which trials were stopped."""

    curves: dict[str, Curve] = field(default_factory=lambda: defaultdict(dict))
    stopped: set[str] = field(default_factory=set)


class StoppingRule(Protocol):
    """Decides from the curves of one cell's trials whether one of them goes on."""

    def goes_on(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> bool:
        """Return whether a trial of `planned` epochs goes on after an epoch that is already in its curve."""


class AshaRule:
    """See `PerCellASHA`."""

    def __init__(self, settings: PerCellASHA) -> None:
        self._settings = settings

    def goes_on(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> bool:  # noqa: ARG002
        """Return whether the trial is among the best of its cell at this epoch; always, between the rungs."""
        rung = self._settings.grace_epochs
        while rung < epoch:
            rung *= self._settings.reduction_factor
        if rung != epoch:
            return True
        own = number(cell.curves[trial][epoch])
        others = [number(curve[epoch]) for name, curve in cell.curves.items() if epoch in curve and name != trial]
        better = sum(other > own for other in others)
        return better < max(1, (len(others) + 1) // self._settings.reduction_factor)


class MedianRule:
    """See `PerCellMedian`."""

    def __init__(self, settings: PerCellMedian) -> None:
        self._settings = settings

    def goes_on(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> bool:  # noqa: ARG002
        """Return whether the trial's best so far reaches the median of the others' running averages."""
        if epoch < self._settings.grace_epochs:
            return True
        averages = []
        for name, curve in cell.curves.items():
            if name != trial and max(curve, default=0) >= epoch:
                averages.append(fmean(number(found) for at, found in curve.items() if at <= epoch))
        if len(averages) < self._settings.min_trials:
            return True
        return max(number(found) for at, found in cell.curves[trial].items() if at <= epoch) >= median(averages)


class RacingRule:
    """See `PerCellRacing`."""

    def __init__(self, settings: PerCellRacing) -> None:
        self._settings = settings

    def goes_on(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> bool:  # noqa: ARG002
        """Return whether no trial that is running or has finished leads this one by more than the margin."""
        own = cell.curves[trial]
        for name, curve in cell.curves.items():
            common = min(max(own), max(curve, default=0))
            if name == trial or name in cell.stopped or common < self._settings.grace_epochs:
                continue
            if smoothed_to(curve, common) - smoothed_to(own, common) > self._settings.margin * planned / common:
                return False
        return True


def number(found: Reading) -> float:
    """Return the value of a reading; of one that is no number, less than any other."""
    return -math.inf if math.isnan(found.value) else found.value


def smoothed_to(curve: Curve, epoch: int) -> float:
    """Return the mean of a curve's last readings up to an epoch, up to three."""
    return fmean([number(found) for at, found in sorted(curve.items()) if at <= epoch][-SMOOTHED:])


class PerCellStopping:
    """The stopping rule of a study, with one set of curves a cell.

    It is refilled by reporting recorded epochs again and saying how recorded trials ended; the order does not matter.
    """

    def __init__(self, settings: EarlyStopping | None) -> None:
        self._rule: StoppingRule | None = None
        if isinstance(settings, PerCellASHA):
            self._rule = AshaRule(settings)
        elif isinstance(settings, PerCellMedian):
            self._rule = MedianRule(settings)
        elif isinstance(settings, PerCellRacing):
            self._rule = RacingRule(settings)
        self._cells: dict[str, CellCurves] = defaultdict(CellCurves)

    def report(self, cell: str, trial: str, epoch: int, found: Reading, planned: int) -> bool:
        """Record one epoch of a trial of `planned` epochs, and return whether the trial goes on."""
        known = self._cells[cell]
        known.curves[trial][epoch] = found
        return self._rule is None or self._rule.goes_on(trial, epoch, planned, known)

    def ended(self, cell: str, trial: str, status: str) -> None:
        """Record how a trial ended. The curve of a failed trial is dropped: it must stop no other."""
        known = self._cells[cell]
        if status == "stopped":
            known.stopped.add(trial)
        elif status != "finished":
            known.curves.pop(trial, None)

    def curve(self, cell: str, trial: str) -> list[Reading]:
        """Return the readings of a trial so far, in order of its epochs."""
        return [found for _, found in sorted(self._cells[cell].curves[trial].items())]
