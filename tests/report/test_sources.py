"""The table of trained sources, on records of a real study and on rows made for it."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from segsweep.records import load
from segsweep.report.sources import trained_sources


def test_a_supervised_source_is_told_with_its_validation_iou(finished: Path) -> None:
    """The stage of the tiny study stands with its pictures, epochs and validation mean IoU; others are left out."""
    records = load(finished / "runs" / "tiny")
    sources = trained_sources(records)
    assert list(sources["val_mean_iou"]) == list(records.stages["val_mean_iou"])
    assert "knn_accuracy" not in sources
    assert (sources.loc[0, "train_images"], sources.loc[0, "steps"]) == (36, 10)


def added(records, **columns):
    """Records with one more stage, like the first but for some columns."""
    return replace(records, stages=pd.concat([records.stages, records.stages.iloc[:1].assign(**columns)], ignore_index=True))


def test_stages_that_no_planned_trial_needs_are_left_out(finished: Path) -> None:
    """Of the stages in the records those count that a planned trial starts from, or that come before such a one."""
    records = load(finished / "runs" / "tiny")
    first = str(records.stages.loc[0, "stage_id"])
    more = added(records, stage="other", stage_id="other")
    assert list(trained_sources(more)["stage"]) == list(records.stages["stage"])
    chained = added(records, stage="later", stage_id="later", parent_stage_id=first)
    wanted = replace(chained, trials=records.trials.assign(stage_id="later"))
    assert len(trained_sources(wanted)) == 2


def test_stages_of_one_name_are_told_apart_by_their_settings(finished: Path) -> None:
    """Two stages of one chain differ in a column of the setting in which they differ, and in no other."""
    records = load(finished / "runs" / "tiny")
    settings = json.loads(records.stages.loc[0, "settings"])
    twin = added(records, stage_id="twin", settings=json.dumps({**settings, "learning_rate": 0.5}))
    both = replace(twin, trials=pd.concat([twin.trials, twin.trials.iloc[-1:].assign(stage_id="twin")], ignore_index=True))
    sources = trained_sources(both)
    assert list(sources["learning_rate"]) == [settings["learning_rate"], 0.5]
    assert "batch_size" not in sources
