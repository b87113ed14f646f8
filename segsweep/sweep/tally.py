"""Counters of a study's progress, and the predicted time left."""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segsweep.durations import readable_seconds
from segsweep.sweep.plan import Plan
from segsweep.tasks.kinds import KINDS
from segsweep.tasks.stage_task import STAGE
from segsweep.tasks.task import Task


@dataclass(frozen=True)
class EarlierProgress:
    """Progress that earlier starts made on a plan: ids of ended trials, and per cell their number and the best validation IoU.

    `failed` is the number of failed trials and stages, `stages_missing` the number of stages that are not built yet.
    """

    ended: Collection[str] = ()
    cell_done: Mapping[str, int] = field(default_factory=dict)
    best: Mapping[str, float] = field(default_factory=dict)
    failed: int = 0
    stages_missing: int = 0


class Tally:
    """Counts the ended tasks of a study, and keeps the best validation IoU per cell and the time left.

    A trial counts once for every cell that shares it. Scores of sources do not count.
    """

    def __init__(self) -> None:
        self.trials = self.trials_done = self.stages = self.stages_done = self.failed = 0
        self.best: dict[str, float] = {}
        self.cell_done: dict[str, int] = {}
        self._counted: set[str] = set()
        self.per_cell: Counter[str] = Counter()
        self._trials_at_start = 0
        self._seconds_left = 0.0
        self._started = self._work_at_start = 0.0

    def begin(self, plan: Plan, earlier: EarlierProgress, seconds_left: float) -> None:
        """Start counting from the progress of earlier starts."""
        self.trials, self.trials_done, self.failed = plan.trials, sum(earlier.cell_done.values()), earlier.failed
        self._trials_at_start = self.trials_done
        self.stages = len(plan.stages())
        self.stages_done = self.stages - earlier.stages_missing
        self.cell_done, self.best = dict(earlier.cell_done), dict(earlier.best)
        self._counted = set(earlier.ended)
        self.per_cell = Counter()
        for cell in plan.cells if plan.study.search is None else ():  # a search decides on its way how many trials a cell has
            self.per_cell[cell.name] += len(cell.tuning) + plan.study.seeds
        self._seconds_left, self._started = seconds_left, time.monotonic()
        self._work_at_start = self._work_left()

    def _work_left(self) -> float:
        return float(self.trials - self.trials_done + 2 * (self.stages - self.stages_done))

    def ended(self, task: Task, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Count an ended task of `cells` (none for a stage). A trial that was stopped and rerun counts once."""
        self.failed += status == "failed" and not KINDS[task.kind].runs_last
        value = facts.get("val_iou")
        for cell in cells:
            if value is not None and value >= self.best.get(cell, 0.0):  # False for NaN
                self.best[cell] = value
        if task.identity in self._counted:
            return
        self._counted.add(task.identity)
        if not cells:
            self.stages_done += task.kind == STAGE and self.stages_done < self.stages
            return
        self.trials_done += len(cells)
        for cell in cells:
            self.cell_done[cell] = self.cell_done.get(cell, 0) + 1

    @property
    def best_of_all(self) -> float | None:
        """The best validation IoU of all cells; None before the first trial has ended."""
        return max(self.best.values(), default=None)

    @property
    def seconds_left(self) -> float:
        """The time left in seconds: at first as predicted, later increasingly from the pace so far."""
        passed = time.monotonic() - self._started
        share = 1 - self._work_left() / self._work_at_start if self._work_at_start else 1.0
        pace = passed * (1 - share) / share if share > 0 else self._seconds_left
        predicted = max(0.0, self._seconds_left - passed)
        return share * pace + (1 - share) * predicted

    def left(self) -> str:
        """Return the time left, in words."""
        return readable_seconds(self.seconds_left)

    @property
    def trials_per_hour(self) -> float | None:
        """The number of ended trials per hour since this start; None until one has ended."""
        ended, passed = self.trials_done - self._trials_at_start, time.monotonic() - self._started
        return 3600 * ended / passed if ended and passed else None
