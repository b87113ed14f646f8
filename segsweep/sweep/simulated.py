"""The simulated runner: runs a whole study with invented results in an instant, on workers that can join and leave."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from segsweep.config.keep import Reading
from segsweep.config.work import Trial
from segsweep.sweep.decisions import Decision, Ended, StoppedWhilePaused, Verdict
from segsweep.sweep.planner import Planner
from segsweep.tasks.task import Assignment, Task


@dataclass(frozen=True)
class Event:
    """An event at a simulated time; `what` is `start`, `epoch`, `finished`, `stopped`, `paused`, `failed` or `died`."""

    seconds: float
    what: str
    task: Task
    epoch: int = 0


@dataclass(frozen=True, order=True)
class _Step:
    """The next step of a running task: one epoch, or a whole task without results.

    `seconds` is the time of its end, `number` the number of the task's start, which breaks ties.
    """

    seconds: float
    number: int
    assignment: Assignment = field(compare=False)
    epoch: int = field(compare=False)


@dataclass
class Clock:
    """A clock that shows the simulated time, in seconds."""

    seconds: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


@dataclass
class Simulation:
    """Runs a planner's tasks on simulated workers, `workers` of them at the start.

    `changes` lists (seconds, number of workers) pairs. When the number drops, the workers whose tasks started last leave; their
    tasks are requeued and resume from their last epoch. `val_iou` returns the validation IoU of an epoch of a trial; if it
    raises, the trial fails. A task without planned results, such as a stage, lasts `task_seconds`; every result of another task
    takes `epoch_seconds`. Stages whose name is in `broken` fail. `built` maps keys of artifacts to content hashes. `clock` shows
    the simulated time. `events` and `decisions` collect the events and the planner's decisions.
    """

    planner: Planner
    val_iou: Callable[[Trial, int], float]
    workers: int = 1
    changes: Sequence[tuple[float, int]] = ()
    task_seconds: Callable[[Task], float] = lambda _: 10.0
    epoch_seconds: Callable[[Task], float] = lambda _: 1.0
    broken: frozenset[str] = frozenset()
    built: dict[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    events: list[Event] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    _reached: dict[str, int] = field(default_factory=dict)  # id of an interrupted or paused task -> epoch of its checkpoint
    _running: list["_Step"] = field(default_factory=list)  # a heap

    def run(self, until_seconds: float = float("inf")) -> list[Event]:
        """Run until no work or no time is left, and return the events in order."""
        self.planner.workers = self.workers
        changes, clock = deque(sorted(self.changes)), 0.0
        while True:
            self._read_decisions(clock)
            while len(self._running) < self.workers and (assignment := self.planner.next()) is not None:
                self._start(clock, assignment)
            next_change = changes[0][0] if changes and not self.planner.done else float("inf")
            next_step = self._running[0].seconds if self._running else float("inf")
            clock = min(next_change, next_step)
            if clock == float("inf") or clock > until_seconds:
                return self.events
            self.clock.seconds = clock
            if next_change <= next_step:
                self._change_workers(*changes.popleft())
                continue
            step = heapq.heappop(self._running)
            if self._advance(clock, step.assignment, step.epoch):
                later = clock + self.epoch_seconds(step.assignment.task)
                heapq.heappush(self._running, replace(step, seconds=later, epoch=step.epoch + 1))

    def _start(self, clock: float, assignment: Assignment) -> None:
        task = assignment.task
        self.events.append(Event(clock, "start", task))
        seconds = self.task_seconds(task) if task.results is None else self.epoch_seconds(task)
        epoch = self._reached.pop(task.identity, 0) + 1
        heapq.heappush(self._running, _Step(clock + seconds, len(self.events), assignment, epoch))

    def _change_workers(self, clock: float, workers: int) -> None:
        """Set the number of workers, and requeue the tasks of workers that leave."""
        self.workers = workers
        self.planner.workers = max(1, workers)
        while len(self._running) > workers:
            step = max(self._running, key=lambda step: step.number)
            self._running.remove(step)
            heapq.heapify(self._running)
            task = step.assignment.task
            self.events.append(Event(clock, "died", task, step.epoch - 1))
            self._reached[task.identity] = step.epoch - 1
            self.planner.requeue(task)

    def _advance(self, clock: float, assignment: Assignment, epoch: int) -> bool:
        """End one epoch, or a task without results; return whether the task continues."""
        task = assignment.task
        if task.results is None:
            self._make(clock, assignment)
            return False
        try:
            value = self.val_iou(task.spec, epoch)
        except Exception as error:
            self._end(clock, task, epoch, "failed", str(error))
            return False
        self.events.append(Event(clock, "epoch", task, epoch))
        verdict = self.planner.report(task, task.identity, epoch, Reading(value))
        if epoch == task.results:
            self._end(clock, task, epoch, "finished")
        elif verdict is Verdict.STOP:
            self._end(clock, task, epoch, "stopped")
        elif verdict is Verdict.PAUSE:
            self.events.append(Event(clock, "paused", task, epoch))
            self._reached[task.identity] = epoch
        return verdict is Verdict.CONTINUE and epoch != task.results

    def _make(self, clock: float, assignment: Assignment) -> None:
        """Add a task's artifact to `built`, or fail the task if it is broken."""
        task = assignment.task
        if task.name.removeprefix("stage ") in self.broken:
            self.events.append(Event(clock, "failed", task))
            self.planner.task_ended(task, "broken")
            return
        key = task.key([self.built[needed] for needed in assignment.keys])
        if key is not None:
            self.built[key] = f"content of {key}"
        self.events.append(Event(clock, "finished", task))
        self.planner.task_ended(task)

    def _end(self, clock: float, task: Task, epoch: int, status: str, error: str | None = None) -> None:
        self.events.append(Event(clock, status, task, epoch))
        self.planner.record_ended(task.identity, Ended(status, error))
        self.planner.task_ended(task, error)

    def _read_decisions(self, clock: float) -> None:
        """Collect the planner's decisions, and end paused trials that early stopping has stopped."""
        while self.planner.decisions:
            each = self.planner.decisions.popleft()
            self.decisions.append(each)
            if isinstance(each, StoppedWhilePaused):
                self._end(clock, each.task, self._reached.pop(each.task.identity), "stopped")
