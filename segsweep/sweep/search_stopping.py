"""Early stopping among all trials of a search, which may have different numbers of planned epochs."""

from collections import defaultdict

from segsweep.config.early_stopping import EarlyStopping
from segsweep.config.keep import Reading
from segsweep.sweep.decisions import Verdict
from segsweep.sweep.early_stopping import Curve, PerCellStopping


class SharedStopping:
    """Applies a study's stopping rule to trials of different lengths, at equal shares of their planned epochs.

    `shortest` is the smallest number of planned epochs. The rule counts in its epochs: a trial of n epochs reaches epoch k of the
    rule with the first reading after the share k / `shortest` of its epochs. It is compared only then, by these readings.
    With equal lengths the rule works as in a cell. `add` announces a trial before its first reading.
    """

    def __init__(self, settings: EarlyStopping | None, shortest: int) -> None:
        self._stopping, self._shortest = PerCellStopping(settings), shortest
        self._planned: dict[str, int] = {}  # id of a trial -> its number of planned epochs
        self._curves: dict[tuple[str, str], Curve] = defaultdict(dict)  # (pool, trial) -> its readings by its own epochs

    def add(self, trial: str, planned: int) -> None:
        """Announce a trial of `planned` epochs."""
        self._planned[trial] = planned

    def report(self, pool: str, trial: str, epoch: int, found: Reading) -> None:
        """Record one epoch of a trial."""
        self._curves[pool, trial][epoch] = found
        if (at := self._reached(epoch, self._planned[trial])) is not None:
            self._stopping.report(pool, trial, at, found)

    def judge(self, pool: str, trial: str, epoch: int, planned: int) -> Verdict:
        """Return the verdict on a trial of `planned` epochs after a recorded `epoch`; it continues between epochs of the rule."""
        at = self._reached(epoch, planned)
        return Verdict.CONTINUE if at is None else self._stopping.judge(pool, trial, at, self._shortest)

    def _reached(self, epoch: int, planned: int) -> int | None:
        """Return the epoch of the rule that an epoch of a trial reaches; None if the epoch before has reached it."""
        at = epoch * self._shortest // planned
        return at if at > (epoch - 1) * self._shortest // planned else None

    def ended(self, pool: str, trial: str, status: str) -> None:
        """Record how a trial ended. The curve of a failed trial is dropped so that it does not stop other trials."""
        self._stopping.ended(pool, trial, status)
        if status not in ("finished", "stopped"):
            self._curves.pop((pool, trial), None)

    def reopened(self, pool: str, trial: str) -> None:
        """Remove a stopped trial and its curve, because the trial is rerun."""
        self._stopping.reopened(pool, trial)
        self._curves.pop((pool, trial), None)

    def curve(self, pool: str, trial: str) -> list[Reading]:
        """Return the readings of a trial so far, in the order of its epochs."""
        return [found for _, found in sorted(self._curves.get((pool, trial), {}).items())]
