"""Messages: reports of an executor about a task, each with the record that it belongs to."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from segsweep.config.keep import Reading
from segsweep.store.faults import Fault
from segsweep.store.protocol import Artifact
from segsweep.tasks.task import Row


class Result(Protocol):
    """The results of one epoch, or of the optimiser steps between two validations."""

    @property
    def epoch(self) -> int:
        """Number of the epoch, from 1."""

    @property
    def best(self) -> bool:
        """Whether this is the best epoch so far, whose weights are kept."""

    @property
    def images_per_second(self) -> float:
        """Training speed in images per second."""

    @property
    def summary(self) -> str:
        """The most important number, as text."""

    @property
    def row(self) -> Row:
        """Row of the table of epochs."""

    @property
    def record_columns(self) -> Row:
        """Columns of the task's record that this epoch sets if its weights are kept."""

    def reading(self, keep: str) -> Reading:
        """Return the reading in the measure `keep`."""


@dataclass(frozen=True)
class Started:
    """The task has started: the record's columns known before the first epoch, and the host name of the worker's machine."""

    facts: Mapping[str, Any]
    machine: str = field(default_factory=socket.gethostname, compare=False)


@dataclass(frozen=True)
class Finished:
    """A record is complete: its remaining columns, the rows of its test by table, and the artifact for other tasks."""

    facts: Mapping[str, Any]
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    artifact: Artifact | None = None


@dataclass(frozen=True)
class Done:
    """The executor has ended; no message follows."""


@dataclass(frozen=True)
class BuiltElsewhere:
    """Another process is building the task's artifact; the executor did nothing."""


@dataclass(frozen=True)
class Failed:
    """The task failed: the reason, and the traceback if the reason alone does not explain the failure."""

    reason: str
    trace: str | None = None


@dataclass(frozen=True)
class Blocked:
    """A fault of the environment prevents the task from continuing. The task itself is correct, and its checkpoints are kept."""

    fault: Fault


@dataclass(frozen=True)
class Lost:
    """An artifact that the task needs is missing in the store and must be rebuilt."""

    kind: str
    key: str
    reason: str


Body = Started | Result | Finished | Done | BuiltElsewhere | Failed | Blocked | Lost
Last = Done | BuiltElsewhere | Failed | Blocked | Lost  # bodies of the last message of a task


@dataclass(frozen=True)
class Message:
    """One report of an executor. `record` is the id of the record that it belongs to; None if it concerns the whole task."""

    record: str | None
    body: Body

    @property
    def is_last(self) -> bool:
        """Whether this is the last message of its task."""
        return isinstance(self.body, Last)
