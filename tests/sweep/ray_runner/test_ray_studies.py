"""Whole studies on a real Ray cluster: the numbers of the inline runner, failures that are records, early stopping."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import segsweep
from segsweep.config import PerCellASHA, Study
from segsweep.records import Records, load
from segsweep.report.text import table_text

MEASURED = ["train_loss", "val_loss", "val_iou", "test_iou", "test_loss", "test_dice", "source_hash", "learning_rate"]


def run(study: Study, folder: Path, **options: object) -> Records:
    """Run a study on the cluster at hand, with one thread in each worker."""
    return segsweep.run(study, out=folder / "runs", threads=1, **options)


def measured(records: Records) -> pd.DataFrame:
    """Return what the trials measured, by trial."""
    return records.trials.set_index("trial_id").sort_index()[MEASURED]


@pytest.mark.usefixtures("cluster")
def test_ray_gives_the_numbers_of_the_inline_runner(finished: Path, tiny_study: Study, tmp_path: Path) -> None:
    """With one thread a worker, every number of every trial equals the inline runner's to the last bit, and so does the table."""
    inline, found = load(finished / "runs" / "tiny"), run(tiny_study, tmp_path, max_concurrent=2)
    pd.testing.assert_frame_equal(measured(found), measured(inline), check_exact=True)
    assert table_text(found) == table_text(inline)
    assert (found.trials["starts"] == 1).all()
    assert found.epochs.groupby("trial_id")["epoch"].agg(list).map(lambda epochs: epochs == [1, 2]).all()
    assert not list((tmp_path / "store" / "temporary").iterdir())
    assert not list((tmp_path / "store" / "work").iterdir())


@pytest.mark.usefixtures("cluster")
def test_the_same_again_starts_nothing(copy_of_finished: Path, tiny_study: Study) -> None:
    """A study that the inline runner finished is finished for Ray too."""
    assert (run(tiny_study, copy_of_finished).trials["starts"] == 1).all()


@pytest.mark.usefixtures("cluster")
def test_what_fails_is_a_record_and_the_sweep_goes_on(tiny_study: Study, tmp_path: Path) -> None:
    """A trial whose loss breaks fails with its reason, the others finish; a retry runs the failed ones alone."""
    study = replace(
        tiny_study,
        compare={"learning_rate": [1e-3, 99.0]},
        tune={},
        fixed={**tiny_study.fixed, "optimizer": "adamw", "weight_decay": 1e3, "epochs": 4},
        seeds=1,
    )
    trials = run(study, tmp_path).trials
    assert dict(zip(trials["learning_rate"], trials["status"], strict=True)) == {1e-3: "finished", 99.0: "failed"}
    assert trials.loc[trials["status"] == "failed", "error"].str.contains("loss is").all()
    again = run(study, tmp_path, retry_failed=True).trials.set_index("trial_id")
    before = trials.set_index("trial_id").loc[again.index]
    assert ((again["started_at"] > before["started_at"]) == (before["status"] == "failed")).all()


@pytest.mark.usefixtures("cluster")
def test_early_stopping_frees_the_worker(tiny_study: Study, tmp_path: Path) -> None:
    """Trials that the rule stops are recorded as stopped after the epoch it judged, and leave no checkpoint."""
    study = replace(
        tiny_study,
        compare={"source": ["random"]},
        fixed={**tiny_study.fixed, "epochs": 3},
        trials_per_cell=4,
        early_stopping=PerCellASHA(1, 2),
    )
    trials = run(study, tmp_path, max_concurrent=1).trials
    stopped = trials[trials["status"] == "stopped"]
    assert len(stopped) >= 1
    assert set(stopped["epochs_run"]) <= {1, 2}
    assert set(trials["status"]) == {"finished", "stopped"}
    assert not list((tmp_path / "store" / "work").iterdir())


@pytest.mark.usefixtures("cluster")
@pytest.mark.timeout(120)
def test_twenty_trials_that_ask_for_one_stage_get_one(tiny_study: Study, tmp_path: Path, boxes: Path) -> None:
    """With twenty tuning trials that wait for one stage, it is built once, and none of them starts before it is there."""
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
