"""The queue of tasks that can start now. Adding, removing and popping a task takes O(log n) time."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from segsweep.tasks.kinds import KINDS
from segsweep.tasks.task import Task

URGENT = 0.9  # share of the time left: a task whose path is longer starts before its cell's turn


@dataclass(frozen=True)
class Scheduled:
    """A task that has not ended.

    `seconds` is its price, and `path_seconds` the price of the longest path of tasks that starts with it. `cell` is the key of
    its cell; None for a task without a cell, such as a stage: these start before all trials, unless the kind of the task runs
    last. `by_plan` is True if the plan
    contains the task, False if only another task needs it.
    """

    task: Task
    seconds: float
    path_seconds: float
    cell: str | None = None
    by_plan: bool = True

    @property
    def runs_last(self) -> bool:
        """Whether the task starts only when no task of another kind is ready."""
        return KINDS[self.task.kind].runs_last


class ReadyQueue:
    """A priority queue of the tasks that can start now.

    Tasks without a cell, which make artifacts for other tasks, come first, longest path first. Trials follow cell by cell, in the
    order of `ranks`, so that early cells end early; with `shares`, the next trial is from the cell that has used the least of its
    share of the time. A trial whose path takes nearly as long as all remaining work divided by the workers comes before its turn,
    because it would delay the end of the study. Tasks of kinds that run last, such as scores, start only when nothing else is
    ready.
    """

    def __init__(self, ranks: Mapping[str, int], shares: Mapping[str, float] | None = None) -> None:
        self._ranks, self._shares = ranks, shares
        self._entries: dict[str, Scheduled] = {}
        self._numbers: dict[str, int] = {}  # id of every task ever added -> its place, which it keeps when added again
        self._next = count()
        self._makers: list[tuple[float, int, str]] = []
        self._last: list[tuple[float, int, str]] = []
        self._paths: list[tuple[float, int, str]] = []
        self._of_cell: dict[str, list[tuple[int, str]]] = {}
        self._turns: list[tuple[float, int, str]] = []
        self._used: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, identity: str) -> bool:
        return identity in self._entries

    def add(self, scheduled: Scheduled) -> None:
        """Add a task, or update the path of a queued one."""
        identity = scheduled.task.identity
        number = self._numbers.setdefault(identity, next(self._next))
        self._entries[identity] = scheduled
        if scheduled.cell is None:
            heap = self._last if scheduled.runs_last else self._makers
            heapq.heappush(heap, (-scheduled.path_seconds, number, identity))
            return
        heapq.heappush(self._paths, (-scheduled.path_seconds, number, identity))
        waiting = self._of_cell.setdefault(scheduled.cell, [])
        heapq.heappush(waiting, (number, identity))
        self._give_turn(scheduled.cell)

    def remove(self, identity: str) -> Scheduled | None:
        """Remove a task and return it; None if it is not queued."""
        return self._entries.pop(identity, None)  # the heaps drop it when it reaches the top

    def pop(self, seconds_left: float) -> Scheduled | None:
        """Remove and return the task that starts next; None if the queue is empty.

        `seconds_left` is the time that all remaining work takes on all workers.
        """
        found = self._first(self._makers) or self._urgent(seconds_left) or self._in_turn() or self._first(self._last)
        if found is not None:
            del self._entries[found.task.identity]
            if found.cell is not None:
                self._used[found.cell] = self._used.get(found.cell, 0.0) + found.seconds
                self._give_turn(found.cell)
        return found

    def clear(self) -> None:
        """Remove all tasks."""
        self._entries, self._makers, self._last, self._paths, self._of_cell, self._turns = {}, [], [], [], {}, []

    def _first(self, heap: list[tuple[float, int, str]]) -> Scheduled | None:
        """Return the first valid task of a heap; drop entries whose task was removed or whose path has changed."""
        while heap:
            negative, _, identity = heap[0]
            entry = self._entries.get(identity)
            if entry is not None and entry.path_seconds == -negative:
                return entry
            heapq.heappop(heap)
        return None

    def _urgent(self, seconds_left: float) -> Scheduled | None:
        found = self._first(self._paths)
        return found if found is not None and found.path_seconds > URGENT * seconds_left else None

    def _in_turn(self) -> Scheduled | None:
        """Return the first task of the cell whose turn it is."""
        while self._turns:
            used, _, cell = self._turns[0]
            waiting = self._of_cell[cell]
            while waiting and waiting[0][1] not in self._entries:
                heapq.heappop(waiting)
            if waiting and used == self._share_used(cell):
                return self._entries[waiting[0][1]]
            heapq.heappop(self._turns)
        return None

    def _give_turn(self, cell: str) -> None:
        turn = (self._share_used(cell), self._ranks[cell], cell)
        if not self._turns or self._turns[0] != turn:
            heapq.heappush(self._turns, turn)

    def _share_used(self, cell: str) -> float:
        return self._used.get(cell, 0.0) / self._shares.get(cell, 1.0) if self._shares is not None else 0.0
