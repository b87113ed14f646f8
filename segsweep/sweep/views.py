"""A view that combines several views."""

from collections.abc import Mapping, Sequence
from typing import Any

from segsweep.records.driver_status import WorkerInfo
from segsweep.sweep.plan import Plan
from segsweep.sweep.progress import View
from segsweep.sweep.tally import EarlierProgress
from segsweep.tasks.messages import Result
from segsweep.tasks.task import Task


class Views:
    """Passes every event on to several views, in their order."""

    def __init__(self, *views: View) -> None:
        self._views = views

    def data(self, what: str, done: int, total: int) -> None:
        """Pass on the progress of preparing data."""
        for view in self._views:
            view.data(what, done, total)

    def begin(self, plan: Plan, earlier: EarlierProgress, seconds_left: float) -> None:
        """Pass on the plan and the progress of earlier starts."""
        for view in self._views:
            view.begin(plan, earlier, seconds_left)

    def started(self, task: Task) -> None:
        """Pass on that a task starts."""
        for view in self._views:
            view.started(task)

    def epoch(self, task: Task, result: Result) -> None:
        """Pass on a result."""
        for view in self._views:
            view.epoch(task, result)

    def ended(self, task: Task, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Pass on how a task ended."""
        for view in self._views:
            view.ended(task, status, facts, cells)

    def postponed(self, task: Task, reason: str) -> None:
        """Pass on that a task is postponed."""
        for view in self._views:
            view.postponed(task, reason)

    def skipped(self, task: Task, reason: str, cells: Sequence[str]) -> None:
        """Pass on that a trial cannot run."""
        for view in self._views:
            view.skipped(task, reason, cells)

    def workers(self, count: int, runs_on: str) -> None:
        """Pass on the number of workers."""
        for view in self._views:
            view.workers(count, runs_on)

    def placed(self, task: Task, worker: WorkerInfo) -> None:
        """Pass on which worker runs a task."""
        for view in self._views:
            view.placed(task, worker)

    def waiting(self, reason: str | None) -> None:
        """Pass on what the study waits for."""
        for view in self._views:
            view.waiting(reason)

    def notify(self, text: str) -> None:
        """Pass on a line."""
        for view in self._views:
            view.notify(text)

    def close(self) -> None:
        """Close all views."""
        for view in self._views:
            view.close()
