"""A kind of task: who performs it, and in which table its records stand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

TEXT, NUMBER, INTEGER, FLAG = "string", "float64", "Int64", "boolean"  # types of columns, as pandas names them


@dataclass(frozen=True)
class RecordedArtifact:
    """The artifacts that the records of a table name.

    `kind` is the store's, `key` the column with an artifact's key. `made` says of a finished record's row whether it has one,
    `prefix` begins its name in W&B, and `examples` says whether example predictions are in it.
    """

    kind: str
    key: str
    prefix: str
    made: Callable[[Mapping[str, Any]], bool]
    examples: bool = False


@dataclass(frozen=True)
class RecordTable:
    """The table in which a kind of task writes its records.

    `identity` names the column of a record's id, `columns` maps each column to its type (among them `study`, `status`, `error`,
    `starts`, `start_number`, `started_at`, `ended_at`, `seconds`, `method_version` and `schema_version`, which every record has),
    `source` names the column with the id of the stage that it started from (None: it starts from none). `measured` names the
    columns with results, except those that every kind has (as `status`) and those that begin with the split that they were
    measured on. In W&B a record is a run of type `job_type`, with the title and the tag that `title` and `tag` make of its row;
    its results are the run's summary, its other columns the run's config.
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
        """Whether its rows belong to cells and are marked as planned or not."""
        return "planned" in self.columns


@dataclass(frozen=True)
class Kind:
    """One kind of task.

    `executor` is `MODULE:FUNCTION`, imported where tasks are executed; it takes an `Assignment` and an execution context and
    yields messages. `artifact` is the store's kind of what it makes (None: nothing that other tasks need). `group_option` names
    the option that says how many workers execute one such task together. `verb` announces its start; None: nothing does.
    """

    executor: str
    table: RecordTable
    artifact: str | None
    group_option: str
    verb: str | None = None
