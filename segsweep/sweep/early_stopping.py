"""Early stopping among the tuning trials of one cell: never between cells, so a weak source is measured, not pruned."""

from collections import defaultdict
from statistics import fmean, median
from typing import Protocol

from segsweep.config.early_stopping import EarlyStopping, PerCellASHA, PerCellMedian
from segsweep.config.keep import Reading

Curve = dict[int, Reading]


class StoppingRule(Protocol):
    """Decides from the curves of one cell's trials whether one of them goes on."""

    def goes_on(self, trial: str, epoch: int, curves: dict[str, Curve]) -> bool:
        """Return whether a trial goes on after an epoch that is already in its curve."""


class AshaRule:
    """See `PerCellASHA`."""

    def __init__(self, settings: PerCellASHA) -> None:
        self._settings = settings

    def goes_on(self, trial: str, epoch: int, curves: dict[str, Curve]) -> bool:
        """Return whether the trial is among the best of its cell at this epoch; always, between the rungs."""
        rung = self._settings.grace_epochs
        while rung < epoch:
            rung *= self._settings.reduction_factor
        if rung != epoch:
            return True
        others = [curve[epoch] for name, curve in curves.items() if epoch in curve and name != trial]
        better = sum(other.value > curves[trial][epoch].value for other in others)
        return better < max(1, (len(others) + 1) // self._settings.reduction_factor)


class MedianRule:
    """See `PerCellMedian`."""

    def __init__(self, settings: PerCellMedian) -> None:
        self._settings = settings

    def goes_on(self, trial: str, epoch: int, curves: dict[str, Curve]) -> bool:
        """Return whether the trial's best so far reaches the median of the others' running averages."""
        if epoch < self._settings.grace_epochs:
            return True
        averages = []
        for name, curve in curves.items():
            if name != trial and max(curve, default=0) >= epoch:
                averages.append(fmean(found.value for at, found in curve.items() if at <= epoch))
        if len(averages) < self._settings.min_trials:
            return True
        return max(found.value for at, found in curves[trial].items() if at <= epoch) >= median(averages)


class PerCellStopping:
    """The stopping rule of a study, with one set of curves a cell. It is refilled by reporting old epochs again."""

    def __init__(self, settings: EarlyStopping | None) -> None:
        self._rule: StoppingRule | None = None
        if isinstance(settings, PerCellASHA):
            self._rule = AshaRule(settings)
        elif isinstance(settings, PerCellMedian):
            self._rule = MedianRule(settings)
        self._curves: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(dict))

    def report(self, cell: str, trial: str, epoch: int, found: Reading) -> bool:
        """Record one epoch of one trial, and return whether the trial goes on."""
        curves = self._curves[cell]
        curves[trial][epoch] = found
        return self._rule is None or self._rule.goes_on(trial, epoch, curves)

    def curve(self, cell: str, trial: str) -> list[Reading]:
        """Return the readings of a trial so far, in order of its epochs."""
        return [found for _, found in sorted(self._curves[cell][trial].items())]
