"""Messages: what an executor reports of a task, and to which of its records each belongs."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from segsweep.config.keep import Reading
from segsweep.store.faults import Fault
from segsweep.store.protocol import Artifact
from segsweep.tasks.task import Row


class Result(Protocol):
    """The numbers of one epoch, or of one stretch of optimiser steps."""

    @property
    def epoch(self) -> int:
        """Its number, from 1."""

    @property
    def best(self) -> bool:
        """Whether its weights are kept, until those of another are."""

    @property
    def images_per_second(self) -> float:
        """The speed of training."""

    @property
    def summary(self) -> str:
        """The number to look at, in words."""

    @property
    def row(self) -> Row:
        """Its row in the table of epochs."""

    @property
    def record_columns(self) -> Row:
        """Its columns of the task's record, where its weights are kept."""

    def reading(self, keep: str) -> Reading:
        """Return its reading by a measure."""


@dataclass(frozen=True)
class Started:
    """What is known before the first epoch, as columns of the record; and the host name of the worker's `machine`."""

    facts: Mapping[str, Any]
    machine: str = field(default_factory=socket.gethostname, compare=False)


@dataclass(frozen=True)
class Finished:
    """A record is complete: its further columns, the rows of its test by table, and the artifact that other tasks need."""

    facts: Mapping[str, Any]
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    artifact: Artifact | None = None


@dataclass(frozen=True)
class Done:
    """Nothing follows: the executor has ended."""


@dataclass(frozen=True)
class BuiltElsewhere:
    """Another process makes the task's artifact right now: nothing was done."""


@dataclass(frozen=True)
class Failed:
    """Why a task failed, and the traceback where the reason alone does not explain it."""

    reason: str
    trace: str | None = None


@dataclass(frozen=True)
class Blocked:
    """The environment keeps a task from going on. Nothing is wrong with the task, and its checkpoints are kept."""

    fault: Fault


@dataclass(frozen=True)
class Lost:
    """The store has lost an artifact that a task needs: it must be made again."""

    kind: str
    key: str
    reason: str


Body = Started | Result | Finished | Done | BuiltElsewhere | Failed | Blocked | Lost
Last = Done | BuiltElsewhere | Failed | Blocked | Lost  # bodies after which nothing follows


@dataclass(frozen=True)
class Message:
    """One report of an executor. `record` is the id of the record that it belongs to; None: it concerns the whole task."""

    record: str | None
    body: Body

    @property
    def is_last(self) -> bool:
        """Whether nothing follows it."""
        return isinstance(self.body, Last)
