"""Live progress: a display on a terminal, plain lines elsewhere."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from segsweep.records.driver_status import WorkerInfo
from segsweep.sweep.plan import Plan
from segsweep.sweep.tally import EarlierProgress, Tally
from segsweep.tasks.kinds import KINDS
from segsweep.tasks.messages import Result
from segsweep.tasks.task import Task

CELLS_SHOWN = 30
RUNNING_SHOWN = 8
DATA_SECONDS = 2.0  # how often a plain line tells how far the data is


class View(Protocol):
    """What a driver tells of its progress."""

    def data(self, what: str, done: int, total: int) -> None:
        """Tell how far the preparation of data is."""

    def begin(self, plan: Plan, earlier: EarlierProgress, seconds_left: float) -> None:
        """Tell what there is to do, of which a part may be done."""

    def started(self, task: Task) -> None:
        """Tell that a stage or a trial starts."""

    def epoch(self, task: Task, result: Result) -> None:
        """Tell a result."""

    def ended(self, task: Task, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Tell how a stage, or a trial of some cells, ended."""

    def postponed(self, task: Task, reason: str) -> None:
        """Tell that a stage or a trial that had started is put off, and why."""

    def skipped(self, task: Task, reason: str, cells: Sequence[str]) -> None:
        """Tell that a trial of some cells cannot run."""

    def workers(self, count: int, runs_on: str) -> None:
        """Tell how many workers there are from now on, and what they run on, in words."""

    def placed(self, task: Task, worker: WorkerInfo) -> None:
        """Tell on which worker a stage or a trial that has started runs."""

    def waiting(self, reason: str | None) -> None:
        """Tell what the whole study waits for, as a full disk or machines to come; None: it waits for nothing any more."""

    def notify(self, text: str) -> None:
        """Tell a line, as that all work is paused."""

    def close(self) -> None:
        """End the display."""


class PlainView:
    """One line for everything that starts or ends, for logs and pipes; every `data_seconds` one on the preparation of data."""

    def __init__(self, console: Console, data_seconds: float = DATA_SECONDS) -> None:
        self._console, self._data_seconds = console, data_seconds
        self._tally = Tally()
        self._last_line_at = time.monotonic()

    def notify(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def data(self, what: str, done: int, total: int) -> None:
        """Tell how far the preparation of data is, every few seconds."""
        if done == total or time.monotonic() - self._last_line_at > self._data_seconds:
            self._last_line_at = time.monotonic()
            self.notify(f"{what}: {done}/{total}")

    def begin(self, plan: Plan, earlier: EarlierProgress, seconds_left: float) -> None:
        """Tell what there is to do."""
        self._tally.begin(plan, earlier, seconds_left)

    def started(self, task: Task) -> None:
        """Print that a task of a kind which is announced starts; others are printed when they end."""
        if (verb := KINDS[task.kind].verb) is not None:
            self.notify(f"{verb} {task.describe()}")

    def epoch(self, task: Task, result: Result) -> None:
        """Say nothing: the records have every epoch."""

    def ended(self, task: Task, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Tell how a stage or a trial ended."""
        tally = self._tally
        tally.ended(task, status, facts, cells)
        count = f"trials {tally.trials_done}/{tally.trials}, stages {tally.stages_done}/{tally.stages}, {tally.left()} left"
        notes = [task.outcome(facts), self._best_of_cell(task, facts), facts.get("error")]
        self.notify(f"[{count}] {task.describe()}: {' '.join([status, *filter(None, notes)])}")

    def _best_of_cell(self, task: Task, facts: Mapping[str, Any]) -> str:
        """Return the best validation IoU of a task's cell; nothing beside an IoU that is undefined."""
        if task.cell is None or math.isnan(facts.get("val_iou", math.nan)):
            return ""
        return f"(best of cell {self._tally.best.get(task.cell, 0.0):.3f})"

    def postponed(self, task: Task, reason: str) -> None:
        """Tell that a stage or a trial is put off, and why."""
        self.notify(f"put off {task.describe()}: {reason}")

    def skipped(self, task: Task, reason: str, cells: Sequence[str]) -> None:
        """Tell that a trial cannot run."""
        self._tally.ended(task, "skipped", {}, cells)
        self.notify(f"skipped {task.name}: {reason}")

    def workers(self, count: int, runs_on: str) -> None:
        """Say nothing: whoever changes the workers notifies."""

    def placed(self, task: Task, worker: WorkerInfo) -> None:
        """Say nothing: the status has it."""

    def waiting(self, reason: str | None) -> None:
        """Say nothing: whoever waits notifies."""

    def close(self) -> None:
        """End the display."""


class LiveView:
    """A display that stays in place: bars for trials and stages, what runs now, and the cells with their best so far."""

    def __init__(self, console: Console) -> None:
        self._tally = Tally()
        self._bars = Progress(
            TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}", markup=False)
        )
        self._data = self._bars.add_task("data", total=None, note="", visible=False)
        self._trials = self._bars.add_task("trials", total=None, note="", visible=False)
        self._stages = self._bars.add_task("stages", total=None, note="", visible=False)
        self._now: dict[str, str] = {}  # what runs, by its identity
        self._waiting: str | None = None
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def _draw(self) -> Group:
        tally = self._tally
        note = f"{tally.left()} left" + (f", {tally.failed} failed" if tally.failed else "") if tally.trials else ""
        self._bars.update(self._trials, completed=tally.trials_done, note=note)
        self._bars.update(self._stages, completed=tally.stages_done)
        cells = Table(box=None, padding=(0, 1), header_style="dim")
        for heading in ("cell", "done", "best val IoU"):
            cells.add_column(heading)
        for name in list(tally.per_cell)[:CELLS_SHOWN]:
            best = f"{tally.best[name]:.3f}" if name in tally.best else ""
            cells.add_row(Text(name), f"{tally.cell_done.get(name, 0)}/{tally.per_cell[name]}", best)
        if len(tally.per_cell) > CELLS_SHOWN:
            cells.add_row(f"and {len(tally.per_cell) - CELLS_SHOWN} more", "", "")
        waiting = [f"waiting: {self._waiting}"] if self._waiting else []
        now = Text("\n".join([*waiting, *list(self._now.values())[:RUNNING_SHOWN]]))
        return Group(self._bars, now, *([cells] if tally.per_cell else []))

    def data(self, what: str, done: int, total: int) -> None:
        """Show how far the preparation of data is."""
        self._bars.update(self._data, completed=done, total=total, note=what, visible=done < total)

    def begin(self, plan: Plan, earlier: EarlierProgress, seconds_left: float) -> None:
        """Show what there is to do."""
        self._tally.begin(plan, earlier, seconds_left)
        self._bars.update(self._trials, total=plan.trials, visible=True)
        self._bars.update(self._stages, total=self._tally.stages, visible=self._tally.stages > 0)

    def started(self, task: Task) -> None:
        """Show what runs now."""
        self._now[task.identity] = task.describe()

    def epoch(self, task: Task, result: Result) -> None:
        """Show the latest result."""
        self._now[task.identity] = (
            f"{task.describe()}: epoch {result.epoch}, {result.summary}, {result.images_per_second:.0f} images/s"
        )

    def ended(self, task: Task, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Count a stage or a trial that ended; tell a failure above the display."""
        self._tally.ended(task, status, facts, cells)
        self._now.pop(task.identity, None)
        if status == "failed":
            self.notify(f"{task.describe()}: failed: {facts.get('error')}")

    def postponed(self, task: Task, reason: str) -> None:
        """Show no more what is put off, and tell why above the display."""
        self._now.pop(task.identity, None)
        self.notify(f"put off {task.describe()}: {reason}")

    def notify(self, text: str) -> None:
        """Print a line above the display."""
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def skipped(self, task: Task, reason: str, cells: Sequence[str]) -> None:
        """Count a trial that cannot run, and tell why above the display."""
        self._tally.ended(task, "skipped", {}, cells)
        self.notify(f"skipped {task.name}: {reason}")

    def workers(self, count: int, runs_on: str) -> None:
        """Show nothing: whoever changes the workers notifies."""

    def placed(self, task: Task, worker: WorkerInfo) -> None:
        """Show nothing: the status has it."""

    def waiting(self, reason: str | None) -> None:
        """Show what the study waits for."""
        self._waiting = reason

    def close(self) -> None:
        """End the display."""
        self._live.stop()


def choose_view(console: Console) -> View:
    """Return the view that fits where the output goes."""
    return LiveView(console) if console.is_terminal else PlainView(console)
