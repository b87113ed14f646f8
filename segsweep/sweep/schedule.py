"""The schedule: tasks with their dependencies. It tracks which ones wait, are ready or run, and ignores cells and choices."""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import replace

from segsweep.sweep.built import Built, Find, IsBeingBuilt
from segsweep.sweep.ledger import Ledger, Price
from segsweep.sweep.ready_queue import ReadyQueue, Scheduled
from segsweep.tasks.kinds import KINDS
from segsweep.tasks.task import Assignment, Task


class Schedule:
    """All scheduled tasks that have not ended.

    A task waits until the artifacts that it needs are in the store; then it is ready. It runs once `next` has returned it, may
    pause, and ends. `unreachable` collects tasks that can never run, each with the failed task that it needs. `settled` collects
    the ids of tasks whose artifact is built, or can never be. The reader of these queues removes their items. `seconds_left` is
    the price of all tasks that have not ended. A task that the limits of `ledger` do not allow does not start; it is ready again
    when another task has ended or left its worker.
    """

    def __init__(self, find: Find, is_being_built: IsBeingBuilt, price: Price, ranks: Mapping[str, int], ledger: Ledger) -> None:
        self.running: set[str] = set()
        self.built = Built(find, is_being_built, unfinished=self.running)
        self.failed: dict[str, str] = {}  # id of a failed task that makes an artifact -> the reason
        self.unreachable: deque[tuple[Task, Task]] = deque()
        self.settled: deque[str] = deque()
        self.seconds_left = 0.0
        self._price, self._ledger = price, ledger
        self._queue = ReadyQueue(ranks)
        self._scheduled: dict[str, Scheduled] = {}
        self._waiting: dict[str, list[str]] = defaultdict(list)  # id of a needed task -> ids of tasks that wait for it
        self._paused: set[str] = set()
        self._unaffordable: set[str] = set()
        self._built_elsewhere: set[str] = set()  # ids of tasks whose artifacts another run is building now

    @property
    def done(self) -> bool:
        """Whether nothing runs and no task can start. Trials stay paused if the limits do not allow those that they wait for."""
        waits = self._paused and not self._unaffordable
        return not (self.running or len(self._queue) or waits or self._built_elsewhere)

    def is_unstarted(self, identity: str) -> bool:
        """Return whether a task is scheduled, and neither runs nor pauses."""
        return identity in self._scheduled and identity not in self.running and identity not in self._paused

    def __iter__(self) -> Iterator[Task]:
        """Yield the scheduled tasks that have not ended."""
        yield from (scheduled.task for scheduled in self._scheduled.values())

    def add(self, task: Task, cell: str | None = None, after_seconds: float = 0.0) -> None:
        """Schedule a task once, and the tasks that it needs if the store lacks their artifacts.

        `after_seconds` is the price of the work that follows the task.
        """
        seconds = self._price(task)
        self._add(Scheduled(task, seconds, seconds + after_seconds, cell))

    def _add(self, scheduled: Scheduled) -> None:
        task = scheduled.task
        if (known := self._scheduled.get(task.identity)) is not None:
            self._lengthen(known, scheduled)
            return
        if self.built.is_built(task):
            self.settled.append(task.identity)
            return
        self._scheduled[task.identity] = scheduled
        self.seconds_left += scheduled.seconds
        self._enqueue(scheduled)

    def _cannot_run(self, task: Task, failed: Task) -> None:
        """Mark a task that needs a failed one as unreachable, and drop all tasks that wait for it."""
        if not _makes(task):
            self.unreachable.append((task, failed))
        self._give_up(task.identity)

    def _lengthen(self, known: Scheduled, again: Scheduled) -> None:
        """Update a scheduled task that is added again: the longer of the two paths counts."""
        path = max(known.path_seconds, again.path_seconds)
        scheduled = replace(known, path_seconds=path, by_plan=known.by_plan or again.by_plan)
        if scheduled == known:
            return
        self._scheduled[known.task.identity] = scheduled
        if known.task.identity in self._queue:
            self._queue.add(scheduled)
        for need in self._missing(scheduled.task):
            self._add_need(need, path)

    def _add_need(self, need: Task, after_seconds: float) -> None:
        seconds = self._price(need)
        self._add(Scheduled(need, seconds, seconds + after_seconds, None, by_plan=False))

    def _enqueue(self, scheduled: Scheduled) -> None:
        """Queue a task that can start; otherwise register it as waiting, or drop it if it needs a failed task."""
        if (failed := self._failed_need(scheduled.task)) is not None:
            self._drop(scheduled.task.identity)
            self._cannot_run(scheduled.task, failed)
            return
        missing = self._missing(scheduled.task)
        for need in missing:
            self._waiting[need.identity].append(scheduled.task.identity)
            self._add_need(need, scheduled.path_seconds)
        if not missing:
            self._queue.add(scheduled)

    def _missing(self, task: Task) -> list[Task]:
        return [need for need in task.needs if need.identity in self._scheduled or not self.built.is_built(need)]

    def _failed_need(self, task: Task) -> Task | None:
        """Return the first failed task in the chain of tasks that a task needs; None if none failed."""
        for need in task.needs:
            if (failed := self._failed_need(need)) is not None:
                return failed
            if need.identity in self.failed:
                return need
        return None

    def next(self, workers: int) -> Assignment | None:
        """Return a task that can start now, or None. `workers` is the maximum number of tasks that run at once."""
        for identity in list(self._built_elsewhere):
            self._built_elsewhere.discard(identity)
            self._queue.add(self._scheduled[identity])
        while (scheduled := self._queue.pop(self.seconds_left / workers)) is not None:
            task = scheduled.task
            if _makes(task) and self.built.is_built(task):  # another run has built it
                self._made(task)
            elif _makes(task) and self.built.is_being_built(task):
                self._built_elsewhere.add(task.identity)
            elif self._ledger.fits(task):
                self.running.add(task.identity)
                self._ledger.start(task)
                return Assignment(task, tuple(self.built.key(need) for need in task.needs))
            else:
                self._unaffordable.add(task.identity)
        return None

    def ended(self, task: Task, error: str | None = None) -> None:
        """Record that a task has ended. If it failed with `error`, drop the tasks that need it.

        If an artifact that the task needs was lost meanwhile, the key of the task's own artifact is unknown. The task then waits
        until the lost artifact is rebuilt; it counts as built if its key then matches the artifact in the store.
        """
        self.running.discard(task.identity)
        self._ledger.end(task, failed=error is not None)
        self._retry_unaffordable()
        if not _makes(task):
            self._drop(task.identity)
        elif error is None and self._missing(task):
            self._enqueue(self._scheduled[task.identity])
        elif error is None:
            assert self.built.is_built(task), f"{task.name} was built under another key and would be rebuilt endlessly"
            self._made(task)
        else:
            self.failed[task.identity] = str(error)
            self._drop(task.identity)
            self._give_up(task.identity)

    def _made(self, task: Task) -> None:
        """Queue the tasks that waited only for this task's artifact."""
        self._drop(task.identity)
        for identity in self._waiting.pop(task.identity, ()):
            scheduled = self._scheduled.get(identity)
            if scheduled is not None and not self._missing(scheduled.task):
                self._queue.add(scheduled)
        self.settled.append(task.identity)

    def _give_up(self, identity: str) -> None:
        """Drop all tasks that wait for a failed one."""
        self.settled.append(identity)
        for waiting in self._waiting.pop(identity, ()):
            if (scheduled := self._drop(waiting)) is not None and (failed := self._failed_need(scheduled.task)) is not None:
                self._cannot_run(scheduled.task, failed)

    def _drop(self, identity: str) -> Scheduled | None:
        self._queue.remove(identity)
        self._paused.discard(identity)
        scheduled = self._scheduled.pop(identity, None)
        if scheduled is not None:
            self.seconds_left -= scheduled.seconds
        return scheduled

    def requeue(self, task: Task) -> None:
        """Return a running task that was interrupted to the queue."""
        self.running.discard(task.identity)
        self._ledger.leave(task)
        if (scheduled := self._scheduled.get(task.identity)) is not None:
            self._retry_unaffordable()
            self._enqueue(scheduled)

    def pause(self, task: Task) -> None:
        """Pause a running task until `resume`."""
        self.running.discard(task.identity)
        self._paused.add(task.identity)
        self._ledger.leave(task)
        self._retry_unaffordable()

    def _retry_unaffordable(self) -> None:
        """Queue the tasks that did not fit the limits: a task that took less time than expected leaves time for them."""
        for identity in self._unaffordable & self._scheduled.keys():
            self._queue.add(self._scheduled[identity])
        self._unaffordable.clear()

    def resume(self, task: Task) -> None:
        """Resume a paused task, on any worker."""
        self._paused.discard(task.identity)
        self._enqueue(self._scheduled[task.identity])

    def recheck_artifacts(self) -> None:
        """Look up all artifacts in the store again because one is lost; reschedule the tasks whose artifacts are needed."""
        self.built.forget()
        busy = self.running | self._paused
        idle = [scheduled for identity, scheduled in self._scheduled.items() if identity not in busy]
        self._queue.clear()
        self._waiting.clear()
        self._built_elsewhere.clear()
        self._unaffordable.clear()
        for scheduled in idle:
            self._drop(scheduled.task.identity)
        for scheduled in idle:
            if scheduled.by_plan:
                self._add(scheduled)


def _makes(task: Task) -> bool:
    """Return whether a task makes an artifact that other tasks can need."""
    return KINDS[task.kind].artifact is not None
