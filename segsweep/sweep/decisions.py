"""The value classes of a planner's input and output: ends of tasks, verdicts of early stopping, choices of cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from segsweep.config.keep import Reading
from segsweep.config.settings import Settings
from segsweep.config.work import Trial
from segsweep.sweep.plan import SourceRate
from segsweep.sweep.search_sampler import Observation
from segsweep.tasks.task import Task


class Verdict(Enum):
    """The decision on a task after a result: it continues, stops for good, or pauses and keeps its checkpoint."""

    CONTINUE = "continue"
    STOP = "stop"
    PAUSE = "pause"


@dataclass(frozen=True)
class Ended:
    """How a trial ended: `finished`, `stopped` (early), `failed` or `skipped` (its source failed)."""

    status: str
    error: str | None = None


@dataclass(frozen=True)
class CellChoice:
    """The setting that a cell has chosen, the tuning trial that tried it, its confirmed runs, and the axes at an edge.

    `cell` is the cell's name, which the cells of all folds share; `settings` holds the fold. If no setting could be chosen,
    `reason` states why and `confirm` is empty.
    """

    cell: str
    trial: Trial | None
    settings: Settings
    confirm: tuple[Trial, ...]
    at_edge: tuple[str, ...]
    reason: str | None = None


@dataclass(frozen=True)
class SourceChoice:
    """The learning rate chosen for a cell's source, and every tried rate with its reading (None if its stage failed)."""

    chosen: SourceRate
    tried: tuple[tuple[SourceRate, float | None], ...]


@dataclass
class ResumeState:
    """The state recorded by earlier starts: how trials ended, their curves, failed stages, and readings of built stages.

    `curves` are those of tuning trials, `confirm_curves` those of confirmed runs.
    """

    ended: Mapping[str, Ended] = field(default_factory=dict)
    curves: Mapping[str, Mapping[int, Reading]] = field(default_factory=dict)
    failed_stages: Mapping[str, str] = field(default_factory=dict)
    stage_readings: Mapping[str, float] = field(default_factory=dict)
    retried_stages: frozenset[str] = frozenset()  # failed stages that count as not run
    confirm_curves: Mapping[str, Mapping[int, Reading]] = field(default_factory=dict)
    searched: Sequence[Mapping[str, Any]] = ()  # rows of the trials of a search, as in the trials table
    warm: Sequence[Observation] = ()  # results of earlier studies from which a search starts


@dataclass(frozen=True)
class Skipped:
    """The decision to skip a trial because a stage of its source failed."""

    task: Task
    reason: str


@dataclass(frozen=True)
class StoppedWhilePaused:
    """The decision to stop a paused trial. No worker runs it, so the driver writes its end."""

    task: Task


@dataclass(frozen=True)
class Chosen:
    """The choice of a cell (`key`): its setting, or the reason why it could not choose one."""

    key: str
    choice: CellChoice


@dataclass(frozen=True)
class Suggested:
    """The decision of a search to run a further trial, which the plan contains from now on."""

    trial: Trial


Decision = Suggested | Skipped | StoppedWhilePaused | SourceChoice | Chosen
