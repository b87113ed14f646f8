"""The table of trained sources, on records of a real study and on rows made for it."""

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
    assert (sources.loc[0, "train_images"], sources.loc[0, "epochs"]) == (36, 2)


def test_stages_that_no_planned_source_needs_are_left_out(finished: Path) -> None:
    """Of the stages in the records those count whose chain begins, or is, a source of the study as it is now."""
    records = load(finished / "runs" / "tiny")
    stage = str(records.stages.loc[0, "stage"])
    rows = [
        records.stages.assign(stage=name, stage_id=name, val_mean_iou=float(number))
        for number, name in enumerate(["other", f"{stage}more"])
    ]
    more = replace(records, stages=pd.concat([records.stages, *rows], ignore_index=True))
    assert list(trained_sources(more)["stage"]) == [stage]
    longer = replace(more, trials=records.trials.assign(source=f"{stage}+simclr:x"))
    assert list(trained_sources(longer)["stage"]) == [stage]
