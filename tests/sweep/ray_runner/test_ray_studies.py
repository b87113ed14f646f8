"""Whole studies on a real Ray cluster: the numbers of the inline runner, failures that are records, early stopping."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import segsweep
from segsweep.config import Study
from segsweep.records import Records

MEASURED = ["train_loss", "val_loss", "val_iou", "test_iou", "test_loss", "test_dice", "source_hash", "learning_rate"]


def run(study: Study, folder: Path, **options: object) -> Records:
    """Run a study on the test cluster, with one thread per worker."""
    return segsweep.run(study, out=folder / "runs", threads=1, **options)


def measured(records: Records) -> pd.DataFrame:
    """Return the measures of the trials, by trial."""
    return records.trials.set_index("trial_id").sort_index()[MEASURED]


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow  # the contract of runners has the same with eight trials
@pytest.mark.timeout(120)
def test_twenty_trials_share_one_stage(tiny_study: Study, tmp_path: Path, boxes: Path) -> None:
    """With twenty tuning trials that need one stage, it is built once, and none of them starts before it is built."""
    study = replace(
        tiny_study,
        compare={"source": [f"supervised:folder:{boxes}"]},
        fixed={**tiny_study.fixed, "epochs": 1},
        trials_per_cell=20,
        seeds=1,
    )
    records = run(study, tmp_path, max_concurrent=2)
    assert list(records.stages["starts"]) == [1]
    assert len(records.trials) == 21
    assert (records.trials["status"] == "finished").all()
    assert records.trials["started_at"].min() >= records.stages["ended_at"].max()
    assert records.trials["source_hash"].nunique() == 1
