"""The task that builds one stage of a source."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from segsweep.config.work import STAGE_VERSION, StageSpec
from segsweep.store.contents import WEIGHTS
from segsweep.tasks.kind import INTEGER, NUMBER, TEXT, Kind, RecordedArtifact, RecordTable
from segsweep.tasks.task import Costs, Row

STAGE = "stage"
COLUMNS: Mapping[str, str] = {
    "study": TEXT,
    "stage_id": TEXT,
    "stage": TEXT,
    "model": TEXT,
    "parent_stage_id": TEXT,
    "settings": TEXT,
    "status": TEXT,
    "error": TEXT,
    "note": TEXT,
    "key": TEXT,
    "content_hash": TEXT,
    "source_seed": INTEGER,
    "starts": INTEGER,
    "start_number": INTEGER,
    "started_at": NUMBER,
    "ended_at": NUMBER,
    "seconds": NUMBER,
    "device": TEXT,
    "dataset": TEXT,
    "train_images": INTEGER,
    "val_images": INTEGER,
    "dropped_duplicates": INTEGER,
    "classes": INTEGER,
    "epochs": INTEGER,
    "best_epoch": INTEGER,
    "val_loss": NUMBER,
    "val_mean_iou": NUMBER,
    "val_accuracy": NUMBER,
    "val_reading": NUMBER,
    "steps": INTEGER,
    "stem": TEXT,
    "contrastive_accuracy": NUMBER,
    "contrastive_chance": NUMBER,
    "knn_accuracy": NUMBER,
    "knn_accuracy_start": NUMBER,
    "knn_chance": NUMBER,
    "method_version": INTEGER,
    "schema_version": INTEGER,
}
QUALITY = {  # columns that measure the quality of a built stage
    "val_mean_iou": "val mean IoU",
    "contrastive_accuracy": "contrastive accuracy",
    "knn_accuracy": "k-NN accuracy",
}


@dataclass(frozen=True)
class StageTask:
    """Build one stage. The task needs the preceding stage and makes weights."""

    spec: StageSpec
    kind = STAGE
    keep = None
    results = None
    cell = None

    @property
    def identity(self) -> str:
        """The stage's id."""
        return self.spec.spec_id

    @property
    def name(self) -> str:
        """The chain of stages."""
        return f"stage {self.spec.name}"

    @cached_property
    def needs(self) -> "tuple[StageTask, ...]":
        """The task of the stage that provides the initial weights."""
        return (StageTask(self.spec.parent),) if self.spec.parent else ()

    def key(self, hashes: Sequence[str]) -> str | None:
        """Return the key of the stage's weights in the store."""
        return self.spec.key(hashes[0] if hashes else None)

    @property
    def records(self) -> tuple[str, ...]:
        """The id of the stage's row in the stages table."""
        return (self.identity,)

    def columns(self, record: str) -> Row:  # noqa: ARG002  # there is one record
        """Return the columns of the record that are known before the stage is built."""
        spec = self.spec
        return {
            "stage_id": spec.spec_id,
            "stage": spec.name,
            "model": spec.model,
            "parent_stage_id": spec.parent.spec_id if spec.parent else None,
            "settings": json.dumps(dict(spec.settings), sort_keys=True),
            "source_seed": spec.seed,
            "kind_of_stage": spec.stage.kind,
            "method_version": STAGE_VERSION,
        }

    @property
    def shareable(self) -> bool:
        """Whether the stage trains; a single worker reads published weights."""
        return self.spec.stage.trains

    def seconds(self, costs: Costs) -> float:
        """Return the predicted duration on one worker, in seconds."""
        return costs.stage(self.spec)

    def checkpoints_id(self, records_id: str) -> None:
        """Return None: the executor clears the checkpoints, which all studies share."""

    def describe(self) -> str:
        """Return the chain of stages and the model for which it is built."""
        return f"{self.name} for {self.spec.model}"

    def outcome(self, facts: Row) -> str:
        """Return the quality of the weights as text; an empty text for published weights."""
        measures = [f"{words} {facts[name]:.3f}" for name, words in QUALITY.items() if facts.get(name) is not None]
        start = facts.get("knn_accuracy_start")
        return ", ".join(measures) + ("" if start is None else f" ({start:.3f} at the start)")


def stage_title(row: Mapping[str, Any]) -> str:
    """Return the title of a stage's run in W&B."""
    return f"{row['stage']} for {row['model']}, seed {row['source_seed']}"


STAGE_KIND = Kind(
    executor="segsweep.stage:execute_stage",
    table=RecordTable(
        name="stages",
        identity="stage_id",
        columns=COLUMNS,
        job_type="stage",
        title=stage_title,
        tag=lambda row: "stage",  # noqa: ARG005
        measured=frozenset({"contrastive_accuracy", "contrastive_chance", "knn_accuracy", "knn_accuracy_start", "knn_chance"}),
        source="parent_stage_id",
        artifact=RecordedArtifact(WEIGHTS, "key", "stage-", lambda row: "key" in row),
    ),
    artifact=WEIGHTS,
    group_option="workers_per_stage",
    verb="building",
)
