"""What trials, stages and epochs are in the records: the columns of their rows."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from segsweep.config.study import SOURCE_RATE
from segsweep.config.work import STAGE_VERSION, TRIAL_VERSION, StageSpec, Trial
from segsweep.stage import Result
from segsweep.sweep.planner import Planner
from segsweep.sweep.work import Choice, SourceChoice
from segsweep.training.loop import EpochResult
from segsweep.training.self_supervised import PretrainingResult


def trial_columns(trial: Trial) -> dict[str, Any]:
    """Return the columns that a trial has before it runs."""
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
        **trial.settings.model_dump(),
    }


def stage_columns(spec: StageSpec) -> dict[str, Any]:
    """Return the columns that a stage has before it is built."""
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


def epoch_row(result: Result) -> dict[str, Any]:
    """Return the columns of one epoch."""
    if isinstance(result, PretrainingResult):
        return asdict(result)
    return {
        "epoch": result.epoch,
        "steps": result.steps,
        **losses_and_scores(result),
        "val_precision": result.val.precision,
        "val_recall": result.val.recall,
        "learning_rate": result.learning_rate,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
        "micro_batch": result.micro_batch,
    }


def losses_and_scores(result: EpochResult) -> dict[str, float]:
    """Return the columns that the epochs and the trials table share."""
    return {
        "train_loss": result.train_loss,
        "val_loss": result.val_loss,
        "val_iou": result.val.iou,
        "val_mean_iou": result.val.mean_iou,
        "val_f1": result.val.f1,
        "val_dice": result.val_dice,
        "val_accuracy": result.val.accuracy,
    }


def planned_rows(planner: Planner) -> list[dict[str, Any]]:
    """Return a row for every planned trial; one whose settings are not all chosen yet has a provisional id.

    These are confirmed runs of tuned cells, and all trials of a cell whose source's learning rate is not chosen.
    """
    plan, rows = planner.plan, []
    for cell in plan.cells:
        source = dict.fromkeys((SOURCE_RATE, "stage_id")) if planner.is_undecided(cell) else {}
        rows += [_planned(trial, source) for trial in cell.tuning]
        rows += [_planned(trial, {**source, **dict.fromkeys(plan.study.tune)}) for trial in cell.confirm(cell.settings)]
    return rows


def _planned(trial: Trial, undecided: Mapping[str, None]) -> dict[str, Any]:
    identity = f"{trial.trial_id}-undecided" if undecided else trial.trial_id
    return {**trial_columns(trial), **undecided, "trial_id": identity, "status": "not_run"}


def choice_columns(choice: Choice, source: SourceChoice | None) -> dict[str, Any]:
    """Return what is recorded of a cell's choice, or why there is none; in one of its folds where there are some."""
    return {
        **({"fold": choice.settings.fold} if choice.settings.fold is not None else {}),
        "chosen": choice.trial.trial_id if choice.trial else None,
        "confirm": [trial.trial_id for trial in choice.confirm],
        "at_edge": list(choice.at_edge),
        **({"reason": choice.reason} if choice.reason else {}),
        **source_choice(source),
    }


def source_choice(choice: SourceChoice | None) -> dict[str, Any]:
    """Return what is recorded of a source's tuned learning rate: the chosen one, and each that was tried with its reading."""
    if choice is None:
        return {}
    tried = [
        {"learning_rate": rate.learning_rate, "stage_id": rate.stage.spec_id, "reading": reading}
        for rate, reading in choice.tried
    ]
    return {"source": {"stage": choice.chosen.stage.name, "learning_rate": choice.chosen.learning_rate, "tried": tried}}
