"""Mapping between columns of the tables and keys in W&B.

Columns known before a task runs are a run's config, flat and with the names of the columns. Measured columns are its summary:
`test/iou` for `test_iou`, `best/val_iou` for the `val_iou` of the best epoch. Epochs are its history: `val/iou`, `train/loss`,
each beside `epoch`. W&B also copies the last epoch's values into the summary under these names; they do not stand for columns.
"""

import re
from collections.abc import Mapping
from typing import Any

from segsweep.records.lines import Row
from segsweep.tasks.kind import RecordedArtifact, RecordTable
from segsweep.tasks.stage_task import STAGE_KIND

SUMMARY_JOB = "summary"
SENT = "segsweep/sent"  # in the summary of a complete run: digest of the sent data
EPOCHS = "segsweep/epochs"  # in the summary of an ended run: number of epochs sent
START = "segsweep/start"  # beside an epoch: start time of its trial, which differs between attempts
EXAMPLES = "examples/test"
MODEL_TYPE, RECORDS_TYPE = "model", "records"  # types of artifacts
SOURCE_ARTIFACT = "source_artifact"  # in the config of a trial or stage with a source; not a column

PROGRESS = {"status", "error", "planned", "chosen", "starts", "start_number", "started_at", "ended_at", "seconds"}  # of all tasks
COUNTS = ("train_images", "val_images", "test_images")  # config despite their prefixes
SUMMARY_KEYS = {  # prefix of a column -> prefix of its key in the summary
    "test_": "test/",
    "before_": "before/",
    "val_": "best/val_",
    "train_": "best/train_",
    "best_epoch": "best/epoch",
    "source_mean_": "source/mean_",
}
HISTORY_KEYS = {"contrastive_accuracy": "val/contrastive_accuracy", "val_": "val/", "train_": "train/", "": "epoch/"}


def is_result(table: RecordTable, column: str) -> bool:
    """Return whether a column of a task's table is measured (W&B's summary) rather than known before (W&B's config)."""
    named = column in PROGRESS or column in table.measured
    return named or (column.startswith(tuple(SUMMARY_KEYS)) and column not in COUNTS)


def config_of(table: RecordTable, row: Row) -> dict[str, Any]:
    """Return the columns of a row that form a run's config, without empty values."""
    return {column: value for column, value in row.items() if value is not None and not is_result(table, column)}


def summary_of(table: RecordTable, row: Row) -> dict[str, Any]:
    """Return the columns of a row that form a run's summary, by their keys in W&B."""
    results = {column: value for column, value in row.items() if value is not None and is_result(table, column)}
    return {_key(column, SUMMARY_KEYS): value for column, value in results.items()}


def is_result_key(table: RecordTable, key: str) -> bool:
    """Return whether a key of a summary stands for a column; other keys come from W&B, a user or the last epoch."""
    return is_result(table, _column(key, SUMMARY_KEYS))


def history_of(epoch: Row) -> dict[str, Any]:
    """Return an epoch as a row of a run's history."""
    return {_history_key(column): value for column, value in epoch.items() if value is not None}


def row_from(table: RecordTable, config: Mapping[str, Any], summary: Mapping[str, Any]) -> Row:
    """Return the row that a run's config and summary contain, without summary values that W&B or a user added."""
    results = {key: value for key, value in summary.items() if value is not None and is_result_key(table, key)}
    return {
        **{key: value for key, value in config.items() if key != SOURCE_ARTIFACT and not key.startswith("_")},
        **{_column(key, SUMMARY_KEYS): value for key, value in results.items()},
    }


def epoch_from(history: Mapping[str, Any]) -> Row:
    """Return the epoch that a row of history contains, with the columns that `history_of` can write."""
    keys = (key for key in history if key == "epoch" or key.startswith(tuple(HISTORY_KEYS.values())))
    return {key if key == "epoch" else _column(key, HISTORY_KEYS): history[key] for key in keys}


def run_id(identity: str) -> str:
    """Return the id of a W&B run for a trial, stage or study, with characters replaced that W&B does not allow."""
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
    """Return the name of the W&B artifact with a study's declaration, choices and tables of tests."""
    return f"records-{run_id(study)}"


def summary_run(study: str) -> str:
    """Return the id of a study's summary run."""
    return f"summary-{run_id(study)}"


def _history_key(column: str) -> str:
    return column if column == "epoch" else _key(column, HISTORY_KEYS)


def _key(column: str, keys: Mapping[str, str]) -> str:
    """Return the key of a column: the first matching prefix in `keys` is replaced; a column without one is unchanged."""
    return next((key + column.removeprefix(begin) for begin, key in keys.items() if column.startswith(begin)), column)


def _column(key: str, keys: Mapping[str, str]) -> str:
    """Return the column of a key: the inverse of `_key`."""
    return next((begin + key.removeprefix(known) for begin, known in keys.items() if key.startswith(known)), key)
