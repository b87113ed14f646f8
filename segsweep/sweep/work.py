"""The values that a planner gives and takes: pieces of work, how they end, what cells choose, and what earlier starts left."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from segsweep.config.keep import Reading
from segsweep.config.settings import Settings
from segsweep.config.work import StageSpec, Trial
from segsweep.sweep.plan import SourceRate


@dataclass(frozen=True)
class StageWork:
    """A stage to build, from the stage with `parent_key`."""

    spec: StageSpec
    parent_key: str | None

    @property
    def identity(self) -> str:
        """What records call it."""
        return self.spec.spec_id


@dataclass(frozen=True)
class TrialWork:
    """A trial to run, from the stage with `source_key`."""

    trial: Trial
    source_key: str | None

    @property
    def identity(self) -> str:
        """What records call it."""
        return self.trial.trial_id


Work = StageWork | TrialWork


@dataclass(frozen=True)
class Ended:
    """How a trial ended: `finished`, `stopped` (early), `failed` or `skipped` (its source failed)."""

    status: str
    error: str | None = None


@dataclass(frozen=True)
class Choice:
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
