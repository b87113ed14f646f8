"""A kind of task: its executor, and the table that holds its records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

TEXT, NUMBER, INTEGER, FLAG = "string", "float64", "Int64", "boolean"  # column types, by their names in pandas


@dataclass(frozen=True)
class RecordedArtifact:
    """The artifacts to which the records of a table refer.

    Attributes:
        kind: Kind of the artifact in the store.
        key: Column with the artifact's key.
        prefix: Beginning of the artifact's name in W&B.
        made: Returns whether the row of a finished record has an artifact.
        examples: Whether the artifact contains example predictions.
    """

    kind: str
    key: str
    prefix: str
    made: Callable[[Mapping[str, Any]], bool]
    examples: bool = False


@dataclass(frozen=True)
class RecordTable:
    """The table that holds the records of a kind of task.

    In W&B a record is a run: its results are the run's summary, its other columns the run's config.

    Attributes:
        name: Name of the table.
        identity: Column of a record's id.
        columns: Type of each column. Every record has `study`, `status`, `error`, `starts`, `start_number`, `started_at`,
            `ended_at`, `seconds`, `method_version` and `schema_version`.
        job_type: Type of the W&B run.
        title: Returns the title of the W&B run for a row.
        tag: Returns the tag of the W&B run for a row.
        measured: Columns with results, except those that every kind has (such as `status`) and those whose name begins with
            the split that they were measured on.
        source: Column with the id of the stage that provides the initial weights; None if there is none.
        artifact: Artifacts of the records; None if they have none.
    """

    name: str
    identity: str
    columns: Mapping[str, str]
    job_type: str
    title: Callable[[Mapping[str, Any]], str]
    tag: Callable[[Mapping[str, Any]], str]
    measured: frozenset[str] = frozenset()
    source: str | None = None
    artifact: "RecordedArtifact | None" = None

    @property
    def planned(self) -> bool:
        """Whether the rows belong to cells and are marked as planned or not planned."""
        return "planned" in self.columns


@dataclass(frozen=True)
class Kind:
    """One kind of task.

    Attributes:
        executor: `MODULE:FUNCTION`, imported where tasks execute. The function takes the task, the keys of the artifacts that it
            needs and an `ExecutionContext`. It yields bodies of messages for the task's first record, and whole messages
            (`Message`) for other records.
        table: Table of the records.
        artifact: Kind of the artifact that the task makes for other tasks; None if it makes none.
        group_option: Option that sets the number of workers that execute one such task together.
        verb: Verb that announces the start of a task; None if it is not announced.
        runs_last: Whether its tasks start only when no task of another kind is ready.
    """

    executor: str
    table: RecordTable
    artifact: str | None
    group_option: str
    verb: str | None = None
    runs_last: bool = False
