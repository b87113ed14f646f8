"""Early stopping among all trials of a search, which may have different numbers of planned epochs."""

from collections import defaultdict
from collections.abc import Iterator

from segsweep.config.early_stopping import EarlyStopping, PerCellASHA
from segsweep.config.keep import Reading
from segsweep.sweep.decisions import Verdict
from segsweep.sweep.early_stopping import Curve, PerCellStopping


class SharedStopping:
    """Applies a study's stopping rule to trials of different lengths, at equal shares of their planned epochs.

    `longest` is the largest number of planned epochs. The rule counts in its epochs: after epoch e of n, a trial is compared as
    one that has reached epoch `longest` * e / n, rounded down. For successive halving, a reading also stands for the epochs since
    the one before, so no trial passes over a rung. With equal lengths the rule works as in a cell. `add` announces a trial before
    its first reading.
    """

    def __init__(self, settings: EarlyStopping | None, longest: int) -> None:
        self._stopping, self._longest = PerCellStopping(settings), longest
        self._fills = isinstance(settings, PerCellASHA)
        self._planned: dict[str, int] = {}  # id of a trial -> its number of planned epochs
        self._curves: dict[tuple[str, str], Curve] = defaultdict(dict)  # (pool, trial) -> its readings by its own epochs

    def add(self, trial: str, planned: int) -> None:
        """Announce a trial of `planned` epochs."""
        self._planned[trial] = planned

    def report(self, pool: str, trial: str, epoch: int, found: Reading) -> None:
        """Record one epoch of a trial."""
        self._curves[pool, trial][epoch] = found
        for at in self._reached(epoch, self._planned[trial]):
            self._stopping.report(pool, trial, at, found)

    def judge(self, pool: str, trial: str, epoch: int, planned: int) -> Verdict:
        """Return the verdict on a trial of `planned` epochs after a recorded `epoch`."""
        verdicts = [self._stopping.judge(pool, trial, at, self._longest) for at in self._reached(epoch, planned)]
        return next((verdict for verdict in (Verdict.STOP, Verdict.PAUSE) if verdict in verdicts), Verdict.CONTINUE)

    def _reached(self, epoch: int, planned: int) -> Iterator[int]:
        """Yield the epochs of the longest trial that an epoch of a trial stands for."""
        last = epoch * self._longest // planned
        first = (epoch - 1) * self._longest // planned + 1
        yield from range(first, last + 1) if self._fills else (last,)

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
