"""Records of trials that ended in every way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segsweep.records import Records, load


@pytest.fixture
def records(finished: Path) -> Records:
    """The tiny study's records."""
    return load(finished / "runs" / "tiny")


@pytest.fixture
def troubled(records: Records) -> Records:
    """The tiny study's records, as if its first trials had been stopped, failed, skipped, ..., in this order."""
    ends = ["stopped", "failed", "skipped", "running", "interrupted", "not_run"]
    trials = records.trials.copy()
    ids = trials["trial_id"].tolist()[: len(ends)]
    trials.loc[: len(ends) - 1, "status"] = ends
    trials.loc[trials["status"].isin(["running", "interrupted", "not_run"]), ["ended_at", "val_iou", "test_iou"]] = np.nan
    trials.loc[trials["status"].isin(["failed", "skipped"]), ["val_iou", "test_iou", "best_epoch"]] = np.nan
    trials.loc[trials["status"].isin(["skipped", "not_run"]), ["started_at", "seconds"]] = np.nan
    trials["error"] = trials["error"].mask(trials["status"].isin(["failed", "skipped"]), "out of memory – grün")
    epochs = records.epochs[~records.epochs["trial_id"].isin([ids[2], ids[5]])].copy()
    first = epochs.index[epochs["trial_id"] == ids[1]]
    epochs.loc[first[0], ["train_loss", "val_loss", "val_iou"]] = np.nan  # it diverged
    return replace(records, trials=trials, epochs=epochs.drop(first[1:]).reset_index(drop=True))
