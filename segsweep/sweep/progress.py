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
DATA_SECONDS = 2.0  # interval between plain lines on the preparation of data


class View(Protocol):
    """Shows the progress of a study; the driver and the runner call it with every event."""

    def data(self, what: str, done: int, total: int) -> None:
        """Show the progress of preparing data: `done` of `total` items."""

    def begin(self, plan: Plan, earlier: EarlierProgress, seconds_left: float) -> None:
        """Show the plan and the part of it that earlier starts have completed."""

    def started(self, task: Task) -> None:
        """Show that a stage or a trial starts."""

    def epoch(self, task: Task, result: Result) -> None:
        """Show the result of an epoch."""

    def ended(self, task: Task, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Show how a stage, or a trial of `cells`, ended."""

    def postponed(self, task: Task, reason: str) -> None:
        """Show that a started stage or trial is postponed, and why."""

    def skipped(self, task: Task, reason: str, cells: Sequence[str]) -> None:
        """Show that a trial of `cells` cannot run, and why."""

    def workers(self, count: int, runs_on: str) -> None:
        """Show the new number of workers, and the hardware that they run on, in words."""

    def placed(self, task: Task, worker: WorkerInfo) -> None:
        """Show the worker that runs a started stage or trial."""

    def waiting(self, reason: str | None) -> None:
        """Show why the whole study waits, for example for a full disk or for machines to join; None if it no longer waits."""

    def notify(self, text: str) -> None:
        """Show a line of text, for example that all work is paused."""

    def close(self) -> None:
        """Close the display."""


class PlainView:
    """Prints one line per event, for logs and pipes; during the preparation of data, one line every `data_seconds`."""

    def __init__(self, console: Console, data_seconds: float = DATA_SECONDS) -> None:
        self._console, self._data_seconds = console, data_seconds
        self._tally = Tally()
        self._last_line_at = time.monotonic()

    def notify(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def data(self, what: str, done: int, total: int) -> None:
        """Print the progress of preparing data, every few seconds."""
        if done == total or time.monotonic() - self._last_line_at > self._data_seconds:
            self._last_line_at = time.monotonic()
            self.notify(f"{what}: {done}/{total}")

    def begin(self, plan: Plan, earlier: EarlierProgress, seconds_left: float) -> None:
        """Start counting. Nothing is printed."""
        self._tally.begin(plan, earlier, seconds_left)

    def started(self, task: Task) -> None:
        """Print the start of a task if its kind has a verb for it; other tasks are printed only when they end."""
        if (verb := KINDS[task.kind].verb) is not None:
            self.notify(f"{verb} {task.describe()}")

    def epoch(self, task: Task, result: Result) -> None:
        """Print nothing: the records have every epoch."""

    def ended(self, task: Task, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Print how a stage or a trial ended."""
        tally = self._tally
        tally.ended(task, status, facts, cells)
        count = f"trials {tally.trials_done}/{tally.trials}, stages {tally.stages_done}/{tally.stages}, {tally.left()} left"
        notes = [task.outcome(facts), self._best_of_cell(task, facts), facts.get("error")]
        self.notify(f"[{count}] {task.describe()}: {' '.join([status, *filter(None, notes)])}")

    def _best_of_cell(self, task: Task, facts: Mapping[str, Any]) -> str:
        """Return the best validation IoU of a task's cell, in words; empty if the task's own IoU is undefined."""
        if task.cell is None or math.isnan(facts.get("val_iou", math.nan)):
            return ""
        return f"(best of cell {self._tally.best.get(task.cell, 0.0):.3f})"

    def postponed(self, task: Task, reason: str) -> None:
        """Print that a stage or a trial is postponed, and why."""
        self.notify(f"postponed {task.describe()}: {reason}")

    def skipped(self, task: Task, reason: str, cells: Sequence[str]) -> None:
        """Print that a trial cannot run, and why."""
        self._tally.ended(task, "skipped", {}, cells)
        self.notify(f"skipped {task.name}: {reason}")

    def workers(self, count: int, runs_on: str) -> None:
        """Print nothing: the caller prints a line with `notify`."""

    def placed(self, task: Task, worker: WorkerInfo) -> None:
        """Print nothing: `segsweep status` shows it."""

    def waiting(self, reason: str | None) -> None:
        """Print nothing: the caller prints a line with `notify`."""

    def close(self) -> None:
        """Do nothing: there is no display to close."""


class LiveView:
    """A display that is redrawn in place: progress bars, the running tasks, and each cell's best validation IoU so far."""

    def __init__(self, console: Console) -> None:
        self._tally = Tally()
        self._bars = Progress(
            TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}", markup=False)
        )
        self._data = self._bars.add_task("data", total=None, note="", visible=False)
        self._trials = self._bars.add_task("trials", total=None, note="", visible=False)
        self._stages = self._bars.add_task("stages", total=None, note="", visible=False)
        self._now: dict[str, str] = {}  # id of a running task -> its line
        self._waiting: str | None = None
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def _draw(self) -> Group:
        tally = self._tally
        note = f"{tally.left()} left" + (f", {tally.failed} failed" if tally.failed else "") if tally.trials else ""
        if tally.best_of_all is not None and not tally.per_cell:  # a search has no table of cells
            note += f", best val IoU {tally.best_of_all:.3f}"
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
        """Show the progress of preparing data."""
        self._bars.update(self._data, completed=done, total=total, note=what, visible=done < total)

    def begin(self, plan: Plan, earlier: EarlierProgress, seconds_left: float) -> None:
        """Show the bars of the planned trials and stages."""
        self._tally.begin(plan, earlier, seconds_left)
        self._bars.update(self._trials, total=plan.trials, visible=True)
        self._bars.update(self._stages, total=self._tally.stages, visible=self._tally.stages > 0)

    def started(self, task: Task) -> None:
        """Show that a task runs."""
        self._now[task.identity] = task.describe()

    def epoch(self, task: Task, result: Result) -> None:
        """Show the latest result of a running task."""
        self._now[task.identity] = (
            f"{task.describe()}: epoch {result.epoch}, {result.summary}, {result.images_per_second:.0f} images/s"
        )

    def ended(self, task: Task, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Count a stage or a trial that ended; print a failure above the display."""
        self._tally.ended(task, status, facts, cells)
        self._now.pop(task.identity, None)
        if status == "failed":
            self.notify(f"{task.describe()}: failed: {facts.get('error')}")

    def postponed(self, task: Task, reason: str) -> None:
        """Remove a postponed task from the display, and print the reason above it."""
        self._now.pop(task.identity, None)
        self.notify(f"postponed {task.describe()}: {reason}")

    def notify(self, text: str) -> None:
        """Print a line above the display."""
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def skipped(self, task: Task, reason: str, cells: Sequence[str]) -> None:
        """Count a trial that cannot run, and print the reason above the display."""
        self._tally.ended(task, "skipped", {}, cells)
        self.notify(f"skipped {task.name}: {reason}")

    def workers(self, count: int, runs_on: str) -> None:
        """Show nothing: the caller prints a line with `notify`."""

    def placed(self, task: Task, worker: WorkerInfo) -> None:
        """Show nothing: `segsweep status` shows it."""

    def waiting(self, reason: str | None) -> None:
        """Show what the study waits for."""
        self._waiting = reason

    def close(self) -> None:
        """Remove the display."""
        self._live.stop()


def choose_view(console: Console) -> View:
    """Return a live display for a terminal, plain lines for any other output."""
    return LiveView(console) if console.is_terminal else PlainView(console)
