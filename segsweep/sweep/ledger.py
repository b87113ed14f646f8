"""The ledger of a run: the device time that its tasks have used, and the predicted time of those that have not ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from segsweep.sweep.budget import Limits
from segsweep.tasks.task import Task
from segsweep.tasks.trial_task import TRIAL

Price = Callable[[Task], float]  # predicted seconds on one worker
ROUNDING_SECONDS = 1e-6


@dataclass
class _Running:
    """A running task: when it started, by the monotonic clock, and its expected device time."""

    task: Task
    started: float
    expected: float


@dataclass
class _Pace:
    """Measured and predicted device time of ended tasks of one kind."""

    measured: float = 0.0
    predicted: float = 0.0
    count: int = 0

    @property
    def factor(self) -> float:
        """The measured time as a multiple of the predicted time; the prediction counts as one further task."""
        if not self.predicted:
            return 1.0
        prior = self.predicted / self.count
        return (self.measured + prior) / (self.predicted + prior)


class Ledger:
    """Decides whether a task, or a set of tasks, fits the limits of a run.

    Device time is the time of a task on its workers, multiplied by their number, which `workers_of` returns. `spent` is the
    device time of earlier starts. A running task counts with its expected time, or its time so far if that is longer. Expected
    times are the predictions of `price`, corrected by the times of ended tasks: separately for stages, tuning trials, confirmed
    runs and scores. `now` is the clock of the deadline, `passed` a clock that cannot be set back.

    If every prediction were right, no limit would be exceeded. Otherwise a run exceeds its limits at most by the time that the
    tasks that run at that moment take beyond their prediction.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        price: Price = lambda _: 1.0,
        workers_of: Callable[[Task], int] = lambda _: 1,
        spent: float = 0.0,
        now: Callable[[], float] = time.time,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or Limits()
        self._price, self._workers_of, self._now, self._passed = price, workers_of, now, passed
        self._ended_seconds = spent
        self._running: dict[str, _Running] = {}
        self._before: dict[str, float] = {}  # id of a task -> device time of its attempts that did not reach its end
        self._paces: dict[str, _Pace] = {}
        self._prices: dict[str, float] = {}

    # --- Events -----------------------------------------------------------------------------------------------------------

    def start(self, task: Task) -> None:
        """Note that a task is assigned to a worker. Call it again when the worker begins, because a worker may start slowly."""
        self._running[task.identity] = _Running(task, self._passed(), self.expected(task))

    def leave(self, task: Task) -> None:
        """Note that a task has left its worker before its end: it is paused, or its worker has died."""
        if (running := self._running.pop(task.identity, None)) is not None:
            seconds = self._seconds_of(running)
            self._ended_seconds += seconds
            self._before[task.identity] = self._before.get(task.identity, 0.0) + seconds

    def end(self, task: Task, *, failed: bool = False) -> None:
        """Note that a task has ended, and correct the expected times of others by it unless it `failed`."""
        self.leave(task)
        seconds = self._before.pop(task.identity, None)
        if failed or seconds is None:
            return
        pace = self._paces.setdefault(_group(task), _Pace())
        pace.measured += seconds
        pace.predicted += self.price(task)
        pace.count += 1

    # --- Times ------------------------------------------------------------------------------------------------------------

    def price(self, task: Task) -> float:
        """Return the predicted device time of a task, in seconds."""
        if task.identity not in self._prices:
            self._prices[task.identity] = self._price(task)
        return self._prices[task.identity]

    def expected(self, task: Task) -> float:
        """Return the device time that a task is expected to need: its price, corrected by the measured times of such tasks.

        The time of its earlier attempts in this run counts as done, because a task resumes from its checkpoint.
        """
        pace = self._paces.get(_group(task))
        seconds = self.price(task) * (pace.factor if pace is not None else 1.0)
        return max(0.0, seconds - self._before.get(task.identity, 0.0))

    def expected_wall(self, task: Task) -> float:
        """Return the expected time from a task's start to its end, in seconds."""
        return self.expected(task) / self._workers_of(task)

    @property
    def spent(self) -> float:
        """The device time used so far, in seconds, with earlier starts and the running tasks."""
        return self._ended_seconds + sum(map(self._seconds_of, self._running.values()))

    @property
    def committed(self) -> float:
        """The expected device time that the running tasks still need, in seconds."""
        return sum(max(0.0, each.expected - self._seconds_of(each)) for each in self._running.values())

    def _seconds_of(self, running: _Running) -> float:
        return max(0.0, self._passed() - running.started) * self._workers_of(running.task)

    # --- Limits -----------------------------------------------------------------------------------------------------------

    def fits(self, task: Task) -> bool:
        """Return whether a task that starts now is expected to end within the limits."""
        if not self.limits:
            return True
        return self._fits(self.committed + self.expected(task), self._now() + self.expected_wall(task))

    def allows(self, seconds: float, longest_seconds: float, workers: int) -> bool:
        """Return whether tasks of `seconds` of device time fit on `workers` workers, together with those that run.

        `longest_seconds` is the time of the longest path of tasks among them. Their time to the end is that of list scheduling in
        the worst case (Graham 1969).
        """
        end = self._now() + self.seconds_to_end(seconds, longest_seconds, workers)
        return self._fits(seconds + self.committed, end)

    def seconds_to_end(self, seconds: float, longest_seconds: float, workers: int) -> float:
        """Return the time until such tasks have ended, in seconds."""
        return (seconds + self.committed) / workers + longest_seconds * (1 - 1 / workers)

    def _fits(self, device_seconds: float, end: float) -> bool:
        limits = self.limits
        affordable = limits.device_seconds is None or self.spent + device_seconds <= limits.device_seconds + ROUNDING_SECONDS
        return affordable and (limits.ends_at is None or end <= limits.ends_at + ROUNDING_SECONDS)


def _group(task: Task) -> str:
    """Return the group of tasks whose times correct each other's predictions."""
    return str(task.spec.phase) if task.kind == TRIAL else task.kind
