"""Live progress: a display on a terminal, plain lines elsewhere."""

import math
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from segsweep.config.work import Trial
from segsweep.stage import Result
from segsweep.sweep.cost import readable_seconds
from segsweep.sweep.plan import Plan
from segsweep.sweep.work import StageWork, TrialWork, Work

CELLS_SHOWN = 30
RUNNING_SHOWN = 8
DATA_SECONDS = 2.0  # how often a plain line tells how far the data is


@dataclass(frozen=True)
class Standing:
    """What earlier starts have done of a plan: trials that have ended, and per cell how many and the best validation IoU.

    `failed` counts trials and stages that failed then, `stages_missing` the stages that are still to be built.
    """

    ended: Collection[str] = ()
    cell_done: Mapping[str, int] = field(default_factory=dict)
    best: Mapping[str, float] = field(default_factory=dict)
    failed: int = 0
    stages_missing: int = 0


class View(Protocol):
    """What a driver tells of its progress."""

    def data(self, what: str, done: int, total: int) -> None:
        """Tell how far the preparation of data is."""

    def begin(self, plan: Plan, standing: Standing, seconds_left: float) -> None:
        """Tell what there is to do, of which a part may be done."""

    def started(self, work: Work) -> None:
        """Tell that a stage or a trial starts."""

    def epoch(self, work: Work, result: Result) -> None:
        """Tell a result."""

    def ended(self, work: Work, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Tell how a stage, or a trial of some cells, ended."""

    def given_back(self, work: Work, reason: str) -> None:
        """Tell that a stage or a trial that had started is put off, and why."""

    def skipped(self, trial: Trial, reason: str, cells: Sequence[str]) -> None:
        """Tell that a trial of some cells cannot run."""

    def tell(self, text: str) -> None:
        """Tell a line, as that all work is paused."""

    def close(self) -> None:
        """End the display."""


class Tally:
    """What has been done of what there is, the best validation IoU per cell, and the time left."""

    def __init__(self) -> None:
        self.trials = self.trials_done = self.stages = self.stages_done = self.failed = 0
        self.best: dict[str, float] = {}
        self.cell_done: dict[str, int] = {}
        self._counted: set[str] = set()
        self.per_cell: Counter[str] = Counter()
        self._seconds_left = 0.0
        self._started = self._work_at_start = 0.0

    def begin(self, plan: Plan, standing: Standing, seconds_left: float) -> None:
        """Start counting, from what earlier starts have done."""
        self.trials, self.trials_done, self.failed = plan.trials, sum(standing.cell_done.values()), standing.failed
        self.stages = len(plan.stages())
        self.stages_done = self.stages - standing.stages_missing
        self.cell_done, self.best = dict(standing.cell_done), dict(standing.best)
        self._counted = set(standing.ended)
        self.per_cell = Counter()
        for cell in plan.cells:
            self.per_cell[cell.name] += len(cell.tuning) + plan.study.seeds
        self._seconds_left, self._started = seconds_left, time.monotonic()
        self._work_at_start = self._work_left()

    def _work_left(self) -> float:
        return float(self.trials - self.trials_done + 2 * (self.stages - self.stages_done))

    def ended(self, work: Work, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Count a stage, or a trial of some cells, that ended."""
        if isinstance(work, StageWork):
            self.failed += status == "failed"
            self.stages_done += work.identity not in self._counted and self.stages_done < self.stages
            self._counted.add(work.identity)
            return
        self.trial_ended(work.trial, status, cells)
        value = facts.get("val_iou")
        for cell in cells:
            if value is not None and value >= self.best.get(cell, 0.0):  # never for NaN
                self.best[cell] = value

    def trial_ended(self, trial: Trial, status: str, cells: Sequence[str]) -> None:
        """Count a trial, once where it was stopped and started anew."""
        self.failed += status == "failed"
        if trial.trial_id in self._counted:
            return
        self._counted.add(trial.trial_id)
        self.trials_done += len(cells)
        for cell in cells:
            self.cell_done[cell] = self.cell_done.get(cell, 0) + 1

    def left(self) -> str:
        """Return the time left: first as predicted, then from the pace so far."""
        passed = time.monotonic() - self._started
        share = 1 - self._work_left() / self._work_at_start if self._work_at_start else 1.0
        pace = passed * (1 - share) / share if share > 0 else self._seconds_left
        predicted = max(0.0, self._seconds_left - passed)
        return readable_seconds(share * pace + (1 - share) * predicted)


def describe(work: Work) -> str:
    """Return a stage or a trial in a few words."""
    if isinstance(work, StageWork):
        return f"stage {work.spec.name} for {work.spec.model}"
    trial = work.trial
    fold = f" fold={trial.settings.fold}" if trial.settings.fold is not None else ""
    return f"{trial.phase} {trial.cell} lr={trial.settings.learning_rate:g}{fold} seed={trial.seed}"


def quality(facts: Mapping[str, Any]) -> str:
    """Return how good a stage came out, in words; nothing for published weights and files."""
    said = [
        f"{words} {facts[name]:.3f}"
        for name, words in (
            ("val_mean_iou", "val mean IoU"),
            ("contrastive_accuracy", "contrastive accuracy"),
            ("knn_accuracy", "k-NN accuracy"),
        )
        if facts.get(name) is not None
    ]
    start = f" ({facts['knn_accuracy_start']:.3f} at the start)" if facts.get("knn_accuracy_start") is not None else ""
    return ", ".join(said) + start


class PlainView:
    """One line for everything that starts or ends, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally()
        self._told = time.monotonic()

    def tell(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def data(self, what: str, done: int, total: int) -> None:
        """Tell how far the preparation of data is, every few seconds."""
        if done == total or time.monotonic() - self._told > DATA_SECONDS:
            self._told = time.monotonic()
            self.tell(f"{what}: {done}/{total}")

    def begin(self, plan: Plan, standing: Standing, seconds_left: float) -> None:
        """Tell what there is to do."""
        self._tally.begin(plan, standing, seconds_left)

    def started(self, work: Work) -> None:
        """Tell that a stage starts; trials are told when they end."""
        if isinstance(work, StageWork):
            self.tell(f"building {describe(work)}")

    def epoch(self, work: Work, result: Result) -> None:
        """Say nothing: the records have every epoch."""

    def ended(self, work: Work, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Tell how a stage or a trial ended."""
        tally = self._tally
        tally.ended(work, status, facts, cells)
        outcome = facts.get("error") or ""
        if isinstance(work, TrialWork) and facts.get("val_iou") is not None:
            outcome = f"{self._reached(work, facts)} {outcome}".rstrip()
        elif isinstance(work, StageWork) and status == "finished":
            outcome = quality(facts)
        count = f"trials {tally.trials_done}/{tally.trials}, stages {tally.stages_done}/{tally.stages}, {tally.left()} left"
        self.tell(f"[{count}] {describe(work)}: {status} {outcome}".rstrip())

    def _reached(self, work: TrialWork, facts: Mapping[str, Any]) -> str:
        """Return the validation IoU of a trial beside its cell's best, or the loss where the IoU is undefined."""
        if math.isnan(facts["val_iou"]):
            return f"val loss {facts['val_loss']:.3f}, val IoU undefined"
        return f"val IoU {facts['val_iou']:.3f} (best of cell {self._tally.best.get(work.trial.cell, 0.0):.3f})"

    def given_back(self, work: Work, reason: str) -> None:
        """Tell that a stage or a trial is put off, and why."""
        self.tell(f"put off {describe(work)}: {reason}")

    def skipped(self, trial: Trial, reason: str, cells: Sequence[str]) -> None:
        """Tell that a trial cannot run."""
        self._tally.trial_ended(trial, "skipped", cells)
        self.tell(f"skipped {trial.phase} {trial.cell}: {reason}")

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
        now = Text("\n".join(list(self._now.values())[:RUNNING_SHOWN]))
        return Group(self._bars, now, *([cells] if tally.per_cell else []))

    def data(self, what: str, done: int, total: int) -> None:
        """Show how far the preparation of data is."""
        self._bars.update(self._data, completed=done, total=total, note=what, visible=done < total)

    def begin(self, plan: Plan, standing: Standing, seconds_left: float) -> None:
        """Show what there is to do."""
        self._tally.begin(plan, standing, seconds_left)
        self._bars.update(self._trials, total=plan.trials, visible=True)
        self._bars.update(self._stages, total=self._tally.stages, visible=self._tally.stages > 0)

    def started(self, work: Work) -> None:
        """Show what runs now."""
        self._now[work.identity] = describe(work)

    def epoch(self, work: Work, result: Result) -> None:
        """Show the latest result."""
        self._now[work.identity] = (
            f"{describe(work)}: epoch {result.epoch}, {result.says}, {result.images_per_second:.0f} images/s"
        )

    def ended(self, work: Work, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Count a stage or a trial that ended; tell a failure above the display."""
        self._tally.ended(work, status, facts, cells)
        self._now.pop(work.identity, None)
        if status == "failed":
            self.tell(f"{describe(work)}: failed: {facts.get('error')}")

    def given_back(self, work: Work, reason: str) -> None:
        """Show no more what is put off, and tell why above the display."""
        self._now.pop(work.identity, None)
        self.tell(f"put off {describe(work)}: {reason}")

    def tell(self, text: str) -> None:
        """Print a line above the display."""
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def skipped(self, trial: Trial, reason: str, cells: Sequence[str]) -> None:
        """Count a trial that cannot run, and tell why above the display."""
        self._tally.trial_ended(trial, "skipped", cells)
        self.tell(f"skipped {trial.phase} {trial.cell}: {reason}")

    def close(self) -> None:
        """End the display."""
        self._live.stop()


def choose_view(console: Console) -> View:
    """Return the view that fits where the output goes."""
    return LiveView(console) if console.is_terminal else PlainView(console)
