"""The task of one trial: fine-tuning and, for a confirmed run, the test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from segsweep.config.keep import Keep
from segsweep.config.work import TRIAL_VERSION, Trial
from segsweep.store.contents import MODEL
from segsweep.tasks.kind import FLAG, INTEGER, NUMBER, TEXT, Kind, RecordedArtifact, RecordTable
from segsweep.tasks.stage_task import StageTask
from segsweep.tasks.task import Costs, Row

TRIAL = "trial"
COLUMNS: Mapping[str, str] = {
    "study": TEXT,
    "trial_id": TEXT,
    "cell": TEXT,
    "phase": TEXT,
    "status": TEXT,
    "error": TEXT,
    "note": TEXT,
    "planned": FLAG,
    "chosen": FLAG,
    "point": INTEGER,
    "source": TEXT,
    "architecture": TEXT,
    "transfer": TEXT,
    "freeze": TEXT,
    "fraction": NUMBER,
    "learning_rate": NUMBER,
    "unfreeze_every_epochs": INTEGER,
    "dev_share": NUMBER,
    "fold": INTEGER,
    "ema": NUMBER,
    "gradient_clip_norm": NUMBER,
    "ssl_gradient_clip_norm": NUMBER,
    "source_augmentation": TEXT,
    "seed": INTEGER,
    "source_seed": INTEGER,
    "epochs": INTEGER,
    "steps": INTEGER,
    "validations": INTEGER,
    "patience_epochs": INTEGER,
    "keep": TEXT,
    "batch_size": INTEGER,
    "image_px": INTEGER,
    "source_epochs": INTEGER,
    "source_steps": INTEGER,
    "source_batch_size": INTEGER,
    "source_image_px": INTEGER,
    "stage_id": TEXT,
    "ssl_epochs": INTEGER,
    "ssl_steps": INTEGER,
    "ssl_batch_size": INTEGER,
    "epochs_run": INTEGER,
    "best_epoch": INTEGER,
    "stopped_by": TEXT,
    "starts": INTEGER,
    "start_number": INTEGER,
    "started_at": NUMBER,
    "ended_at": NUMBER,
    "seconds": NUMBER,
    "device": TEXT,
    "continued_from": TEXT,
    "source_hash": TEXT,
    "model_key": TEXT,
    "model_hash": TEXT,
    "transfer_report": TEXT,
    "train_images": INTEGER,
    "val_images": INTEGER,
    "dropped_duplicates": INTEGER,
    "test_images": INTEGER,
    "absent_classes": TEXT,
    "foreground": TEXT,
    "trainable_parameters": INTEGER,
    "total_parameters": INTEGER,
    "calibrated_layers": INTEGER,
    "micro_batch": INTEGER,
    "train_loss": NUMBER,
    "val_loss": NUMBER,
    "val_iou": NUMBER,
    "val_mean_iou": NUMBER,
    "val_f1": NUMBER,
    "val_dice": NUMBER,
    "val_accuracy": NUMBER,
    "test_loss": NUMBER,
    "test_accuracy": NUMBER,
    "test_mean_accuracy": NUMBER,
    "test_precision": NUMBER,
    "test_recall": NUMBER,
    "test_f1": NUMBER,
    "test_iou": NUMBER,
    "test_mean_iou": NUMBER,
    "test_weighted_iou": NUMBER,
    "test_dice": NUMBER,
    "test_boundary_f": NUMBER,
    "test_dice_loss": NUMBER,
    "test_focal_loss": NUMBER,
    "test_bce": NUMBER,
    "predict_seconds": NUMBER,
    "before_accuracy": NUMBER,
    "before_mean_accuracy": NUMBER,
    "before_precision": NUMBER,
    "before_recall": NUMBER,
    "before_f1": NUMBER,
    "before_iou": NUMBER,
    "before_mean_iou": NUMBER,
    "before_weighted_iou": NUMBER,
    "before_dice": NUMBER,
    "source_mean_iou_before": NUMBER,
    "source_mean_iou_after": NUMBER,
    "forgetting": NUMBER,
    "method_version": INTEGER,
    "schema_version": INTEGER,
}


@dataclass(frozen=True)
class TrialTask:
    """Run one trial. The task needs the last stage of its source; no other task needs the model of a confirmed run."""

    spec: Trial
    kind = TRIAL
    shareable = True

    @property
    def identity(self) -> str:
        """The trial's id."""
        return self.spec.trial_id

    @property
    def name(self) -> str:
        """The trial's phase and cell."""
        return f"{self.spec.phase} {self.cell}"

    @cached_property
    def needs(self) -> tuple[StageTask, ...]:
        """The task of the last stage of the source."""
        return (StageTask(self.spec.stage),) if self.spec.stage else ()

    def key(self, hashes: Sequence[str]) -> None:
        """Return None: the key of a confirmed run's model depends on its trained weights."""

    @property
    def records(self) -> tuple[str, ...]:
        """The id of the trial's row in the trials table."""
        return (self.identity,)

    def columns(self, record: str) -> Row:  # noqa: ARG002  # there is one record
        """Return the columns of the record that are known before the trial runs."""
        return trial_columns(self.spec)

    @property
    def keep(self) -> Keep:
        """Measure that compares the epochs of the trial and the trials of its cell."""
        return self.spec.settings.keep

    @property
    def results(self) -> int:
        """Number of validations of a trial that is not stopped early."""
        return self.spec.settings.results

    @property
    def cell(self) -> str:
        """Name of the trial's cell."""
        return self.spec.cell

    def seconds(self, costs: Costs) -> float:
        """Return the predicted duration on one worker without early stopping, in seconds."""
        return costs.trial(self.spec.settings, tested=self.spec.phase == "confirm")

    def checkpoints_id(self, records_id: str) -> str:
        """Return the id of the trial's checkpoints. It differs between studies, which may run equal trials at the same time."""
        return f"{records_id}-{self.identity}" if records_id else self.identity

    def describe(self) -> str:
        """Return the trial's phase, cell, learning rate, fold and seed."""
        settings = self.spec.settings
        fold = f" fold={settings.fold}" if settings.fold is not None else ""
        return f"{self.name} lr={settings.learning_rate:g}{fold} seed={self.spec.seed}"

    def outcome(self, facts: Row) -> str:
        """Return the validation IoU as text, or the loss if the IoU is undefined; an empty text before the first epoch."""
        if (val_iou := facts.get("val_iou")) is None:
            return ""
        if math.isnan(val_iou):
            return f"val loss {facts['val_loss']:.3f}, val IoU undefined"
        return f"val IoU {val_iou:.3f}"


def trial_columns(trial: Trial) -> Row:
    """Return the columns of a trial's record that are known before it runs."""
    return {
        "study": trial.study,
        "trial_id": trial.trial_id,
        "cell": trial.cell,
        "phase": trial.phase,
        "point": trial.point,
        "seed": trial.seed,
        "source_seed": trial.source_seed,
        "stage_id": trial.stage.spec_id if trial.stage else None,
        "method_version": TRIAL_VERSION,
        "target": trial.target.name,
        "protocol": trial.target.protocol,
        "target_data": trial.target_data,
        **trial.settings.model_dump(),
    }


def trial_title(row: Mapping[str, Any]) -> str:
    """Return the title of a trial's run in W&B."""
    point = f", point {row['point']}" if row["phase"] != "confirm" and "point" in row else ""
    fold = f", fold {row['fold']}" if row.get("fold") is not None else ""
    return f"{row['cell']}: {row['phase']}{point}{fold}, seed {row['seed']}"


TRIAL_KIND = Kind(
    executor="segsweep.trial:execute_trial",
    table=RecordTable(
        name="trials",
        identity="trial_id",
        columns=COLUMNS,
        job_type="finetune",
        title=trial_title,
        tag=lambda row: str(row["phase"]),
        measured=frozenset({"epochs_run", "stopped_by", "absent_classes", "micro_batch", "predict_seconds", "forgetting"}),
        source="stage_id",
        artifact=RecordedArtifact(MODEL, "model_key", "model-", lambda row: row["phase"] == "confirm", examples=True),
    ),
    artifact=None,
    group_option="workers_per_trial",
)
