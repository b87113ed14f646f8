"""Two kinds of tasks as a user would add them: one counts, one writes several records at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from segsweep.config.keep import Reading
from segsweep.context import ExecutionContext
from segsweep.tasks.kind import INTEGER, NUMBER, TEXT, Kind, RecordTable
from segsweep.tasks.messages import Failed, Finished, Message, Started
from segsweep.tasks.task import Costs, Row, Task

COLUMNS = {
    "study": TEXT,
    "toy_id": TEXT,
    "status": TEXT,
    "error": TEXT,
    "starts": INTEGER,
    "start_number": INTEGER,
    "started_at": NUMBER,
    "ended_at": NUMBER,
    "seconds": NUMBER,
    "limit": INTEGER,
    "total": INTEGER,
    "method_version": INTEGER,
    "schema_version": INTEGER,
}


@dataclass(frozen=True)
class Counted:
    """The result of one epoch."""

    epoch: int
    total: int
    best: bool = True
    images_per_second: float = 1.0

    @property
    def summary(self) -> str:
        """The main number."""
        return f"total {self.total}"

    @property
    def row(self) -> Row:
        """The row of the epochs table."""
        return {"epoch": self.epoch, "seconds": 0.5}

    @property
    def record_columns(self) -> Row:
        """The columns of the record."""
        return {"total": self.total}

    def reading(self, keep: str) -> Reading:  # noqa: ARG002
        """Return the total."""
        return Reading(float(self.total))


@dataclass(frozen=True)
class ToyTask:
    """Count to a limit for each of its records. `fails` names records that fail."""

    name: str
    limits: dict[str, int]
    kind: str = "toy"
    needs: tuple[Task, ...] = ()
    fails: frozenset[str] = frozenset()
    spec: Any = field(default=None)
    keep = None
    results = None
    cell = None
    shareable = True

    @property
    def identity(self) -> str:
        """Its name."""
        return self.name

    @property
    def records(self) -> tuple[str, ...]:
        """One record per limit."""
        return tuple(self.limits)

    def key(self, hashes: Sequence[str]) -> None:
        """Return None: it makes no artifact."""

    def columns(self, record: str) -> Row:
        """Return the limit."""
        return {"toy_id": record, "limit": self.limits[record], "method_version": 1}

    def seconds(self, costs: Costs) -> float:  # noqa: ARG002
        """Return one second per number."""
        return float(sum(self.limits.values()))

    def checkpoints_id(self, records_id: str) -> None:
        """Return None: it has no checkpoints."""

    def describe(self) -> str:
        """Return its name."""
        return f"toy {self.name}"

    def outcome(self, facts: Row) -> str:
        """Return the total."""
        return f"total {facts.get('total')}"


def count(task: ToyTask, keys: Sequence[str], context: ExecutionContext) -> Iterator[Any]:  # noqa: ARG001
    """Execute a task with one record, to which all results belong."""
    yield Started({"device": "none"})
    for epoch in range(1, task.limits[task.name] + 1):
        yield Counted(epoch, sum(range(epoch + 1)))
    yield Finished({"total": sum(range(task.limits[task.name] + 1))})


def count_all(task: ToyTask, keys: Sequence[str], context: ExecutionContext) -> Iterator[Message]:  # noqa: ARG001
    """Execute a task with several records in parallel: every message names its record."""
    for epoch in range(1, max(task.limits.values()) + 1):
        for record, limit in task.limits.items():
            if epoch == 2 and record in task.fails:
                yield Message(record, Failed("cannot count"))
            elif epoch <= limit:
                yield Message(record, Counted(epoch, sum(range(epoch + 1))))
            if epoch == limit:
                yield Message(record, Finished({"total": sum(range(limit + 1))}))


TABLE = RecordTable(
    name="toys",
    identity="toy_id",
    columns=COLUMNS,
    job_type="toy",
    title=lambda row: f"count to {row['limit']}",
    tag=lambda row: "toy",  # noqa: ARG005
)
TOY_KIND = Kind("toy_tasks:count", TABLE, artifact=None, group_option="workers_per_trial", verb="counting")
SEVERAL_KIND = Kind("toy_tasks:count_all", TABLE, artifact=None, group_option="workers_per_trial")
