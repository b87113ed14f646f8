"""The values that a planner takes and gives: how tasks end, what early stopping decides, what cells choose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from segsweep.config.keep import Reading
from segsweep.config.settings import Settings
from segsweep.config.work import Trial
from segsweep.sweep.plan import SourceRate
from segsweep.tasks.task import Task


class Verdict(Enum):
    """What becomes of a task after a result: it goes on, stops for good, or pauses with its checkpoint kept."""

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
    """The setting that a cell has chosen: the tuning trial that had it, the confirmed runs, the axes at an edge.

    `cell` is the cell's name, which those of its folds share; its fold is that of `settings`. Where none could be chosen `reason`
    says why, and there are no confirmed runs.
    """

    cell: str
    trial: Trial | None
    settings: Settings
    confirm: tuple[Trial, ...]
    at_edge: tuple[str, ...]
    reason: str | None = None


@dataclass(frozen=True)
class SourceChoice:
    """The learning rate that a cell's source has, and the reading of each that was tried, None where the stage failed."""

    chosen: SourceRate
    tried: tuple[tuple[SourceRate, float | None], ...]


@dataclass
class ResumeState:
    """What the records of earlier starts say: how trials ended, their curves, stages that failed, readings of built ones."""

    ended: Mapping[str, Ended] = field(default_factory=dict)
    curves: Mapping[str, Mapping[int, Reading]] = field(default_factory=dict)
    failed_stages: Mapping[str, str] = field(default_factory=dict)
    stage_readings: Mapping[str, float] = field(default_factory=dict)
    retried_stages: frozenset[str] = frozenset()  # failed ones that count as not run


@dataclass(frozen=True)
class Skipped:
    """A trial that cannot run since a stage of its source failed."""

    task: Task
    reason: str


@dataclass(frozen=True)
class StoppedWhilePaused:
    """A paused trial that early stopping ends: it has no worker that could report it."""

    task: Task


@dataclass(frozen=True)
class Chosen:
    """A cell, by its key, that has chosen its setting, or could choose none."""

    key: str
    choice: CellChoice


Decision = Skipped | StoppedWhilePaused | SourceChoice | Chosen
