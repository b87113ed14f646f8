"""A task: one piece of schedulable work: a stage to build, a trial to run, or a source to score.

A task names the artifacts that it needs and makes, its records, resources, cost and label. Its kind, a row of
`segsweep.tasks.kinds.KINDS`, names its executor and the table of its records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from segsweep.config.settings import Settings
from segsweep.config.source_score import ScoreSpec
from segsweep.config.work import StageSpec

Row = Mapping[str, Any]


class Costs(Protocol):
    """Predicted durations, in seconds on one worker."""

    def stage(self, spec: StageSpec) -> float:
        """Return the predicted duration of a stage."""

    def trial(self, settings: Settings, tested: bool) -> float:
        """Return the predicted duration of a trial without early stopping, including its test if it is `tested`."""

    def score(self, spec: ScoreSpec) -> float:
        """Return the predicted duration of scoring a source."""


class Task(Protocol):
    """One piece of schedulable work. Tasks are plain values: any process can unpickle and execute one."""

    @property
    def kind(self) -> str:
        """Name of the task's row in `KINDS`."""

    @property
    def identity(self) -> str:
        """Id of the task, equal for equal work."""

    @property
    def name(self) -> str:
        """Name of the task in messages."""

    @property
    def spec(self) -> Any:
        """Specification that the executor works from."""

    @property
    def needs(self) -> "tuple[Task, ...]":
        """Tasks whose artifacts this task reads."""

    def key(self, hashes: Sequence[str]) -> str | None:
        """Return the key of the task's artifact, given the content hashes of the artifacts it needs; None if it makes none."""

    @property
    def records(self) -> tuple[str, ...]:
        """Ids of the records that the task writes."""

    def columns(self, record: str) -> Row:
        """Return the columns of one of the task's records that are known before it runs."""

    @property
    def keep(self) -> str | None:
        """Measure that compares the task's results; None if nothing depends on them."""

    @property
    def results(self) -> int | None:
        """Number of results of a task that is not stopped early; None if the planner does not use it."""

    @property
    def cell(self) -> str | None:
        """Name of the task's cell; None if it has none."""

    @property
    def shareable(self) -> bool:
        """Whether several workers can execute the task together."""

    def seconds(self, costs: Costs) -> float:
        """Return the predicted duration on one worker, in seconds."""

    def checkpoints_id(self, records_id: str) -> str | None:
        """Return the id under which the driver clears the task's checkpoints after its end; None if the executor clears them."""

    def describe(self) -> str:
        """Return a short description of the task."""

    def outcome(self, facts: Row) -> str:
        """Return a short description of the result, from the columns of the record."""


@dataclass(frozen=True)
class Assignment:
    """A task that can start, with the keys of the artifacts that it needs, in the order of `task.needs`."""

    task: Task
    keys: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Id of the task."""
        return self.task.identity
