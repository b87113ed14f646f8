"""Comparison before and after fine-tuning, from records."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from segsweep.config import Published, PublishedRun
from segsweep.records import load
from segsweep.report.published_comparison import beside_published
from segsweep.report.shift import shift_table
from segsweep.report.text import table_text


@pytest.fixture
def records(finished):
    """The tiny study's records, as if it had been run with `domain_shift`: cells with a source have a test before fine-tuning."""
    found = load(finished / "runs" / "tiny")
    trials = found.trials.copy()
    sourced = (trials["phase"] == "confirm") & (trials["source"] != "random")
    for name, values in {
        "before_mean_accuracy": [0.5, 0.7],
        "before_mean_iou": [0.2, 0.4],
        "before_iou_background": [0.9, 0.9],
        "before_iou_figure": [0.0, 0.2],
        "source_mean_iou_before": [0.8, 0.8],
        "source_mean_iou_after": [0.3, 0.5],
        "forgetting": [0.5, 0.3],
    }.items():
        trials[name] = np.nan
        trials.loc[sourced, name] = values * 2
    return replace(found, trials=trials)


def test_the_table_has_means_before_and_after(records):
    """The row of a cell has the means over its confirmed runs before and after; a random start has no values before."""
    rows = shift_table(records).set_index("cell")
    assert len(rows) == 4
    sourced, random = rows[rows["source"] != "random"].iloc[0], rows[rows["source"] == "random"]
    assert sourced[["before_mean_accuracy", "before_mean_iou", "before_iou_figure"]].tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert sourced[["source_mean_iou_before", "source_mean_iou_after", "forgetting"]].tolist() == pytest.approx([0.8, 0.4, 0.4])
    trials = records.trials
    mine = trials[(trials["cell"] == sourced.name) & (trials["phase"] == "confirm")]
    assert sourced["test_iou_figure"] == pytest.approx(mine["test_iou_figure"].mean())
    assert random["before_mean_iou"].isna().all()
    assert random["test_mean_iou"].notna().all()


def test_the_text_has_it_and_other_studies_do_not(records, finished):
    """The report of such a study has a table with both; a study without measures before has no such table."""
    lines = table_text(records).partition("Before (the source's own model)")[2].splitlines()
    headings = next(line for line in lines if "mean accuracy" in line)
    shown = [name for name in ("IoU background", "IoU figure", "source mean IoU", "forgetting") if name in headings]
    left_out = next(line for line in lines if line.startswith("shift.csv also has "))
    assert all(
        (name in left_out) != (name in shown) for name in ("IoU background", "IoU figure", "source mean IoU", "forgetting")
    )
    assert max(map(len, lines)) <= 80
    sourced = shift_table(records).query("source != 'random'").iloc[0]
    assert any(f"{100 * sourced['before_mean_iou']:.1f} to {100 * sourced['test_mean_iou']:.1f}" in line for line in lines)
    plain = load(finished / "runs" / "tiny")
    assert shift_table(plain).empty
    assert "Before" not in table_text(plain)


def test_a_class_that_is_predicted_only_before_is_missing_after(records):
    """A class that no test image shows and that was not learned has no column after; its value is missing, without an error."""
    trials = records.trials.assign(before_iou_bus=records.trials["before_iou_figure"] * 0)
    rows = shift_table(replace(records, trials=trials))
    assert rows["test_iou_bus"].isna().all()
    assert rows.loc[rows["source"] != "random", "before_iou_bus"].eq(0).all()
    assert "IoU bus" in table_text(replace(records, trials=trials))


def test_published_classes_match_other_spellings(records):
    """A published `test_iou_Fig-ure` matches the column of the class `figure`."""
    cell = {"source": str(records.trials["source"].iloc[-1]), "freeze": "none"}
    runs = [PublishedRun("One", cell, {"test_iou_Fig-ure": 0.5})]
    declared = {**records.study, "published": Published("Table 1", runs).as_dict()}
    rows = beside_published(replace(records, study=declared))
    assert rows["test_iou_Fig-ure"].notna().all()


def test_published_numbers_before_fine_tuning_are_compared(records):
    """A published run that is marked `before` is compared with the test of the source's model."""
    cell = {"source": str(records.trials["source"].iloc[-1]), "freeze": "none"}
    assert cell["source"].startswith("supervised:")
    runs = [PublishedRun(name, cell, {"test_mean_iou": 0.61}, before=name == "Before") for name in ("Before", "After")]
    declared = {**records.study, "published": Published("Table 1", runs).as_dict()}
    rows = beside_published(replace(records, study=declared)).set_index("run")
    assert rows.loc["Before", "test_mean_iou"] == pytest.approx(0.3)
    assert rows.loc["After", "test_mean_iou"] == pytest.approx(
        shift_table(records).query("source != 'random' and freeze == 'none'")["test_mean_iou"].iloc[0]
    )


def test_an_absent_class_is_noted(finished):
    """A class that no test image shows is reported below the table."""
    records = load(finished / "runs" / "tiny")
    assert "None of the" not in table_text(records)
    trials = records.trials.assign(absent_classes=pd.Series("figure", index=records.trials.index, dtype="string"))
    assert "None of the 8 test images shows figure: its IoU is undefined" in table_text(replace(records, trials=trials))
