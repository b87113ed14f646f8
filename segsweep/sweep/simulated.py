"""The simulated runner: whole studies with invented results in an instant, on workers that may appear and vanish."""

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
    """Something that happened at a simulated time: `start`, `epoch`, `finished`, `stopped`, `paused`, `failed`, or `died`."""

    seconds: float
    what: str
    task: Task
    epoch: int = 0


@dataclass(frozen=True, order=True)
class _Step:
    """The next epoch of a running task, or all of a task without results: when it ends, and which start of a task it is."""

    seconds: float
    number: int
    assignment: Assignment = field(compare=False)
    epoch: int = field(compare=False)


@dataclass
class Simulation:
    """Runs a planner's tasks on `workers` simulated workers, at first.

    `changes` lists how many workers there are from which seconds on. Those vanish whose tasks started last; these tasks return to
    the planner and go on from their last epoch. `val_iou` invents the validation IoU of a trial's epoch; one that raises fails
    the trial. A task without planned results, as a stage, takes `task_seconds`; one with results takes `epoch_seconds` for each.
    Stages whose name is in `broken` fail. `built` maps keys of artifacts to their content hashes. `events` and `decisions` (what
    the planner decided) fill up.
    """

    planner: Planner
    val_iou: Callable[[Trial, int], float]
    workers: int = 1
    changes: Sequence[tuple[float, int]] = ()
    task_seconds: Callable[[Task], float] = lambda _: 10.0
    epoch_seconds: Callable[[Task], float] = lambda _: 1.0
    broken: frozenset[str] = frozenset()
    built: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    _reached: dict[str, int] = field(default_factory=dict)  # id of a task that does not run -> the epoch in its checkpoint
    _running: list["_Step"] = field(default_factory=list)  # a heap

    def run(self, until_seconds: float = float("inf")) -> list[Event]:
        """Run until nothing is left or the time is over, and return what happened, in order."""
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
        """Set the number of workers; the tasks of those that vanish return to the planner."""
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
        """Let one task without results, or one epoch, end; return whether the task goes on."""
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
        """Put a task's artifact into the store, or let the task fail."""
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
        """Take what the planner has decided; paused tasks that early stopping ends have ended then."""
        while self.planner.decisions:
            each = self.planner.decisions.popleft()
            self.decisions.append(each)
            if isinstance(each, StoppedWhilePaused):
                self._end(clock, each.task, self._reached.pop(each.task.identity), "stopped")
