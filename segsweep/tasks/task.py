"""A task: one piece of schedulable work, as a stage to build or a trial to run.

A task says what it needs and makes, which records it writes, what it reserves, what it costs and how it is shown. Its kind, a
row of `segsweep.tasks.kinds.KINDS`, says who performs it and in which table its records stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from segsweep.config.settings import Settings
from segsweep.config.work import StageSpec

Row = Mapping[str, Any]


class Costs(Protocol):
    """Predicted durations, in seconds on one worker."""

    def stage(self, spec: StageSpec) -> float:
        """Return the duration of a stage."""

    def trial(self, settings: Settings, tested: bool) -> float:
        """Return the duration of a trial without early stopping, with its test where it is `tested`."""


class Task(Protocol):
    """One piece of schedulable work. Tasks are plain values: any process can unpickle and execute one."""

    @property
    def kind(self) -> str:
        """The name of its row in `KINDS`."""

    @property
    def identity(self) -> str:
        """The id of the task, equal for equal work."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def spec(self) -> Any:
        """The settings that its executor works from."""

    @property
    def needs(self) -> "tuple[Task, ...]":
        """The tasks whose artifacts it reads."""

    def key(self, hashes: Sequence[str]) -> str | None:
        """Return the key of the artifact that it makes, from the content hashes of those that it needs; None: it makes none."""

    @property
    def records(self) -> tuple[str, ...]:
        """The ids of the records that it writes."""

    def columns(self, record: str) -> Row:
        """Return the columns of one of its records that are known before it runs."""

    @property
    def keep(self) -> str | None:
        """The measure by which its results are compared; None: they decide nothing."""

    @property
    def results(self) -> int | None:
        """How many results it yields unless it is stopped; None: nobody plans with their number."""

    @property
    def cell(self) -> str | None:
        """The cell that it belongs to, if any."""

    @property
    def shareable(self) -> bool:
        """Whether several workers can execute it together."""

    def seconds(self, costs: Costs) -> float:
        """Return its predicted duration on one worker."""

    def checkpoints_id(self, records_id: str) -> str | None:
        """Return the id under which the driver clears its checkpoints once it has ended; None: its executor clears them."""

    def describe(self) -> str:
        """Return what it is, in a few words."""

    def outcome(self, facts: Row) -> str:
        """Return how well it ended, in a few words, from the columns of its record."""


@dataclass(frozen=True)
class Assignment:
    """A task that can start now, with the keys of the artifacts that it needs, in the order of `task.needs`."""

    task: Task
    keys: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """The id of its task."""
        return self.task.identity
