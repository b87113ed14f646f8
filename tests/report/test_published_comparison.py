"""Comparison of results with published numbers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from segsweep.config import Published, PublishedRun
from segsweep.records import load
from segsweep.report.published_comparison import beside_published, like_cell
from segsweep.report.text import table_text
from segsweep.sweep.declaration import declaration
from segsweep.sweep.plan import make_plan


def published(records, **cell):
    """The same records, declared with one published run."""
    run = {"name": "Theirs", "cell": cell, "measures": {"test_iou": 0.5, "test_boundary_f": 0.25}}
    return replace(records, study={**records.study, "published": {"where": "Table 9", "note": "Of old.", "runs": [run]}})


def test_each_published_run_is_compared_with_the_mean_of_its_cell(finished):
    """A row has the mean of the confirmed runs of the equivalent cell, and the published number."""
    records = load(finished / "runs" / "tiny")
    rows = beside_published(published(records, source="random", freeze="encoder"))
    trials = records.trials
    confirmed = trials[(trials["phase"] == "confirm") & (trials["source"] == "random") & (trials["freeze"] == "encoder")]
    assert len(confirmed) == 2
    assert rows["run"].tolist() == ["Theirs"]
    assert rows["cell"].iloc[0] == confirmed["cell"].iloc[0]
    for measure, number in (("test_iou", 0.5), ("test_boundary_f", 0.25)):
        assert rows[measure].iloc[0] == pytest.approx(confirmed[measure].mean())
        assert rows[f"{measure}_published"].iloc[0] == number


def test_the_text_has_both_columns_and_the_note(finished):
    """The report names the table, shows both numbers and the note; without published numbers it has no such section."""
    records = load(finished / "runs" / "tiny")
    records = published(records, source="random", freeze="encoder")
    text = table_text(records)
    table = text.partition("Compared with Table 9; the published numbers are in brackets:")[2].splitlines()
    own = beside_published(records)["test_iou"].iloc[0]
    assert table[2].split()[:3] == ["run", "test", "IoU"]
    assert table[3].split()[:3] == ["Theirs", f"{100 * own:.1f}", "(50.0)"]
    assert table[4] == "Of old."
    assert "Compared with" not in table_text(load(finished / "runs" / "tiny"))


def test_a_published_run_without_a_cell_stays_empty(finished):
    """A published run without an equivalent cell has no number of this study."""
    rows = beside_published(published(load(finished / "runs" / "tiny"), source="imagenet"))
    assert rows["cell"].iloc[0] == ""
    assert np.isnan(rows["test_iou"].iloc[0])
    assert rows["test_iou_published"].iloc[0] == 0.5


def test_the_first_of_several_equivalent_cells_is_used():
    """If several cells match, the first of the study is used; a value of None matches an empty one."""
    planned = pd.DataFrame({"cell": ["a", "b", "c"], "freeze": ["none", "encoder", "encoder"], "steps": [1, np.nan, np.nan]})
    assert like_cell({"freeze": "encoder"}, planned) == "b"
    assert like_cell({"steps": None}, planned) == "b"
    assert like_cell({"freeze": "norm"}, planned) is None


def test_deviations_are_listed_below_the_published_table(finished):
    """Below the table every declared deviation is listed, wrapped; without declared ones there is no list."""
    records = published(load(finished / "runs" / "tiny"), source="random", freeze="encoder")
    assert "Deviations" not in table_text(records)
    long = "The optimiser is not said; here " + "Adam and " * 20 + "Adam."
    declared = {**records.study["published"], "deviations": [long, "Short."]}
    text = table_text(replace(records, study={**records.study, "published": declared}))
    lines = text.partition("\nDeviations from the paper:\n\n")[2].splitlines()
    assert lines[-1] == "- Short."
    assert " ".join(line.strip() for line in lines[:-1]) == f"- {long}"
    assert len(lines) == 4
    assert lines[1].startswith("  Adam and Adam")
    assert max(map(len, lines)) <= 80


def test_the_records_keep_the_deviations(tiny_study):
    """The records of a study contain its declared deviations."""
    run = PublishedRun("theirs", {"source": "random"}, {"test_iou": 0.5})
    study = replace(tiny_study, published=Published("Table 1", [run], deviations=["The seed is not said."]))
    plan = make_plan(study, lambda *names: str(names))
    assert declaration(plan)["published"]["deviations"] == ["The seed is not said."]
