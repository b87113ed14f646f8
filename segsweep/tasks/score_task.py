"""The task that scores one source model: it predicts the model's transfer to the target without training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from segsweep.config.source_score import SCORE_VERSION, ScoreSpec
from segsweep.tasks.kind import INTEGER, NUMBER, TEXT, Kind, RecordTable
from segsweep.tasks.stage_task import StageTask
from segsweep.tasks.task import Costs, Row

SCORE = "score"
MEASURED: Mapping[str, str] = {
    "images": INTEGER,
    "pixels": INTEGER,
    "logme": NUMBER,
    "logme_se": NUMBER,
    "gbc": NUMBER,
    "gbc_se": NUMBER,
    "h_score": NUMBER,
    "h_score_se": NUMBER,
    "kid": NUMBER,
    "kid_se": NUMBER,
    "kid_encoder": TEXT,
    "source_images": INTEGER,
    "source_classes": INTEGER,
    "source_val_mean_iou": NUMBER,
    **{
        f"{whose}_{what}": NUMBER
        for whose in ("source", "target")
        for what in ("red_mean", "green_mean", "blue_mean", "red_std", "green_std", "blue_std", "foreground")
    },
}
COLUMNS: Mapping[str, str] = {
    "study": TEXT,
    "score_id": TEXT,
    "source": TEXT,
    "architecture": TEXT,
    "encoder": TEXT,
    "image_px": INTEGER,
    "subset": TEXT,
    "fraction": NUMBER,
    "dev_share": NUMBER,
    "fold": INTEGER,
    "source_seed": INTEGER,
    "stage_id": TEXT,
    "status": TEXT,
    "error": TEXT,
    "starts": INTEGER,
    "start_number": INTEGER,
    "started_at": NUMBER,
    "ended_at": NUMBER,
    "seconds": NUMBER,
    "device": TEXT,
    **MEASURED,
    "method_version": INTEGER,
    "schema_version": INTEGER,
}


@dataclass(frozen=True)
class ScoreTask:
    """Score one source model on a subset of the target's training images. No other task needs the scores."""

    spec: ScoreSpec
    kind = SCORE
    keep = None
    results = None
    cell = None
    shareable = False

    @property
    def identity(self) -> str:
        """The id of the scores."""
        return self.spec.score_id

    @property
    def name(self) -> str:
        """The source, its architecture and the subset."""
        return f"scores of {self.spec.name}"

    @cached_property
    def needs(self) -> tuple[StageTask, ...]:
        """The task of the last stage of the source."""
        return (StageTask(self.spec.stage),) if self.spec.stage else ()

    def key(self, hashes: Sequence[str]) -> None:
        """Return None: no task waits for the scores. The executor finds those that the store already has."""

    @property
    def records(self) -> tuple[str, ...]:
        """The id of the row in the table of scores."""
        return (self.identity,)

    def columns(self, record: str) -> Row:  # noqa: ARG002  # there is one record
        """Return the columns of the record that are known before the source is scored."""
        spec, settings = self.spec, self.spec.settings
        return {
            "study": spec.study,
            "score_id": spec.score_id,
            "source": spec.source,
            "architecture": settings.architecture,
            "image_px": settings.image_px,
            "subset": spec.subset,
            "fraction": settings.fraction,
            "dev_share": settings.dev_share,
            "fold": settings.fold,
            "source_seed": spec.stage.seed if spec.stage else None,
            "stage_id": spec.stage.spec_id if spec.stage else None,
            "method_version": SCORE_VERSION,
        }

    def seconds(self, costs: Costs) -> float:
        """Return the predicted duration on one worker, in seconds."""
        return costs.score(self.spec)

    def checkpoints_id(self, records_id: str) -> None:
        """Return None: scores have no checkpoints."""

    def describe(self) -> str:
        """Return the source, its architecture and the subset."""
        return self.name

    def outcome(self, facts: Row) -> str:
        """Return the main score as text; an empty text if the scoring failed."""
        return f"LogME {facts['logme']:.4f}" if facts.get("logme") is not None else ""


def score_title(row: Mapping[str, Any]) -> str:
    """Return the title of the W&B run of a source's scores."""
    seed = f", source seed {row['source_seed']}" if row.get("source_seed") is not None else ""
    return f"scores of {row['source']} for {row['architecture']}, {row['image_px']} px, {row['subset']}{seed}"


SCORE_KIND = Kind(
    executor="segsweep.source_score:execute_score",
    table=RecordTable(
        name="scores",
        identity="score_id",
        columns=COLUMNS,
        job_type="score",
        title=score_title,
        tag=lambda row: "score",  # noqa: ARG005
        measured=frozenset(MEASURED),
    ),
    artifact=None,
    group_option="workers_per_stage",
    verb="computing",
    runs_last=True,
)
