"""How the columns of the tables are called in W&B, and back.

What is known before a trial runs is a run's config, flat and by the names of the columns. What is measured is its summary:
`test/iou` for `test_iou`, `best/val_iou` for the `val_iou` of the best epoch. Epochs are its history: `val/iou`, `train/loss`,
each beside `epoch`. W&B writes the last epoch's values into the summary too, by these names, which mean no column there.
"""

import re
from collections.abc import Mapping
from typing import Any

from segsweep.records.lines import Row
from segsweep.tasks.kind import RecordedArtifact
from segsweep.tasks.stage_task import STAGE_KIND

SUMMARY_JOB = "summary"
SENT = "segsweep/sent"  # in the summary of a run of which all has arrived: the digest of what was sent
START = "segsweep/start"  # beside an epoch: when the trial that it belongs to began; one that is run anew begins anew
EXAMPLES = "examples/test"
SOURCE_ARTIFACT = "source_artifact"  # in the config of a trial or stage that starts from trained weights; no column

RESULTS = {  # columns of the summary that have no prefix of their own
    *(
        "status",
        "error",
        "planned",
        "chosen",
        "epochs_run",
        "best_epoch",
        "starts",
        "start_number",
        "started_at",
        "ended_at",
        "seconds",
    ),
    *("train_loss", "predict_seconds", "absent_classes", "micro_batch", "forgetting", "stopped_by"),
    *("contrastive_accuracy", "contrastive_chance", "knn_accuracy", "knn_accuracy_start", "knn_chance"),
}
COUNTS = ("train_images", "val_images", "test_images")
SUMMARY_PREFIXES = {
    "test_": "test/",
    "before_": "before/",
    "val_": "best/val_",
    "train_": "best/train_",
    "source_mean_": "source/mean_",
}
HISTORY_PREFIXES = {"val_": "val/", "train_": "train/"}
SUMMARY_NAMES = {"best_epoch": "best/epoch"}
OF_EPOCH = "epoch/"


def is_result(column: str) -> bool:
    """Return whether a column of trials or stages is measured (W&B's summary), or known before (W&B's config)."""
    return column in RESULTS or (column.startswith(tuple(SUMMARY_PREFIXES)) and column not in COUNTS)


def config_of(row: Row) -> dict[str, Any]:
    """Return what of a row is a run's config. Empty values are left out, as everywhere in W&B."""
    return {column: value for column, value in row.items() if value is not None and not is_result(column)}


def summary_of(row: Row) -> dict[str, Any]:
    """Return what of a row is a run's summary, by W&B's keys."""
    return {_summary_key(column): value for column, value in row.items() if value is not None and is_result(column)}


def is_result_key(key: str) -> bool:
    """Return whether a key of a summary stands for a column."""
    column = _summary_column(key)
    return column is not None and is_result(column)


def history_of(epoch: Row) -> dict[str, Any]:
    """Return an epoch as a row of a run's history."""
    return {_history_key(column): value for column, value in epoch.items() if value is not None}


def row_from(config: Mapping[str, Any], summary: Mapping[str, Any]) -> Row:
    """Return the row that a run's config and summary hold; what W&B or a user added is left out of the summary's part."""
    measured = {_summary_column(key): value for key, value in summary.items() if value is not None}
    return {
        **{key: value for key, value in config.items() if key != SOURCE_ARTIFACT and not key.startswith("_")},
        **{column: value for column, value in measured.items() if column is not None and is_result(column)},
    }


def epoch_from(history: Mapping[str, Any]) -> Row:
    """Return the epoch that a row of history holds. Its columns are those that `history_of` can write."""
    columns = {key: _history_column(key) for key in history}
    return {column: history[key] for key, column in columns.items() if column is not None}


def run_id(identity: str) -> str:
    """Return a W&B run's id for a trial, a stage or a study: what W&B does not allow in one is replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", identity)


def artifact(named: RecordedArtifact, identity: str) -> str:
    """Return the name in W&B of the artifact that a record names."""
    return named.prefix + identity


def source_artifact(stage_id: str) -> str:
    """Return the name in W&B of the weights of a stage."""
    named = STAGE_KIND.table.artifact
    assert named is not None
    return artifact(named, stage_id)


def records_artifact(study: str) -> str:
    """Return the name under which a study's declaration, choices, per-image scores and confusion matrices lie in W&B."""
    return f"records-{run_id(study)}"


def summary_run(study: str) -> str:
    """Return the id of a study's summary run."""
    return f"summary-{run_id(study)}"


def _summary_key(column: str) -> str:
    if column in SUMMARY_NAMES:
        return SUMMARY_NAMES[column]
    return _prefixed(column, SUMMARY_PREFIXES) or column


def _summary_column(key: str) -> str | None:
    for column, known in SUMMARY_NAMES.items():
        if key == known:
            return column
    for prefix, known in SUMMARY_PREFIXES.items():
        if key.startswith(known):
            return prefix + key.removeprefix(known)
    return key if "/" not in key else None


def _history_key(column: str) -> str:
    if column in ("epoch", "contrastive_accuracy"):
        return column if column == "epoch" else f"val/{column}"
    return _prefixed(column, HISTORY_PREFIXES) or OF_EPOCH + column


def _history_column(key: str) -> str | None:
    if key in ("epoch", "val/contrastive_accuracy"):
        return key.removeprefix("val/")
    for prefix, known in {**HISTORY_PREFIXES, "": OF_EPOCH}.items():
        if key.startswith(known):
            return prefix + key.removeprefix(known)
    return None


def _prefixed(column: str, prefixes: Mapping[str, str]) -> str | None:
    for prefix, known in prefixes.items():
        if column.startswith(prefix):
            return known + column.removeprefix(prefix)
    return None
