"""The table of trained sources, from records of a real study and from rows made for the test."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from segsweep.records import load
from segsweep.report.sources import stage_names, trained_sources, with_those_before


def test_a_supervised_source_is_listed_with_its_validation_iou(finished: Path) -> None:
    """The stage of the tiny study is listed with its images, steps and validation mean IoU; other quality columns are omitted."""
    records = load(finished / "runs" / "tiny")
    sources = trained_sources(records)
    assert list(sources["val_mean_iou"]) == list(records.stages["val_mean_iou"])
    assert "knn_accuracy" not in sources
    assert (sources.loc[0, "train_images"], sources.loc[0, "steps"]) == (36, 10)


def added(records, **columns):
    """Records with one more stage, equal to the first except for some columns."""
    return replace(records, stages=pd.concat([records.stages, records.stages.iloc[:1].assign(**columns)], ignore_index=True))


def test_stages_that_no_planned_trial_needs_are_omitted(finished: Path) -> None:
    """Only stages count that a planned trial starts from, or that precede such a stage."""
    records = load(finished / "runs" / "tiny")
    first = str(records.stages.loc[0, "stage_id"])
    more = added(records, stage="other", stage_id="other")
    assert list(trained_sources(more)["stage"]) == list(records.stages["stage"])
    chained = added(records, stage="later", stage_id="later", parent_stage_id=first)
    wanted = replace(chained, trials=records.trials.assign(stage_id="later"))
    assert len(trained_sources(wanted)) == 2


def test_stages_of_the_same_name_are_distinguished_by_their_settings(finished: Path) -> None:
    """Two stages of one chain have a column for the setting in which they differ, and for no other."""
    records = load(finished / "runs" / "tiny")
    settings = json.loads(records.stages.loc[0, "settings"])
    twin = added(records, stage_id="twin", settings=json.dumps({**settings, "learning_rate": 0.5}))
    both = replace(twin, trials=pd.concat([twin.trials, twin.trials.iloc[-1:].assign(stage_id="twin")], ignore_index=True))
    sources = trained_sources(both)
    assert list(sources["learning_rate"]) == [settings["learning_rate"], 0.5]
    assert "batch_size" not in sources


def test_a_stage_name_has_the_settings_that_distinguish_it(finished: Path) -> None:
    """Its own settings and those of the stages before it count; a stage that has not ended has a name, too."""
    records = load(finished / "runs" / "tiny")
    first, chain, settings = records.stages.loc[0, ["stage_id", "stage", "settings"]]
    assert stage_names(records).to_dict() == {first: chain}
    other = json.dumps({**json.loads(settings), "learning_rate": 0.5})
    twin = added(records, stage_id="twin", settings=other, status="running")
    twin = added(twin, stage_id="later", stage="later", parent_stage_id=first)
    twin = added(twin, stage_id="last", stage="later", parent_stage_id="twin")
    last = records.trials.iloc[-1:]
    names = stage_names(replace(twin, trials=pd.concat([last.assign(stage_id=name) for name in ("later", "last")])))
    own = json.loads(settings)["learning_rate"]
    assert names.to_dict() == {
        first: f"{chain}, learning rate {own}",
        "twin": f"{chain}, learning rate 0.5",
        "later": f"later, earlier learning rate {own}",
        "last": "later, earlier learning rate 0.5",
    }
    assert with_those_before(twin, ["last"]) == {"last", "twin"}
