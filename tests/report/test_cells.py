"""The ranking of runs, the row of a cell, and the remedy for a choice at an edge."""

from dataclasses import replace
from statistics import stdev
from types import SimpleNamespace

import pandas as pd
import pytest
from text_lines import unwrapped

from segsweep.records import Records
from segsweep.report.cells import MEASURES, best_first, summarise
from segsweep.report.text import table_text


@pytest.mark.parametrize(
    ("keep", "losses", "best"),
    [("val_iou", ("dice", "dice"), "a"), ("val_loss", ("dice", "dice"), "b"), ("val_loss", ("dice", "0.1*cross_entropy"), "a")],
)
def test_runs_are_ranked_by_a_comparable_measure(keep, losses, best):
    """Runs are ranked by the measure of their kept epochs; by validation IoU if that measure is a value of different losses."""
    trials = pd.DataFrame(
        {
            "trial_id": ["a", "b"],
            "keep": keep,
            "loss": losses,
            "val_iou": [0.6, 0.5],
            "val_loss": [0.7, 0.1],
            "val_dice": [0.7, 0.6],
        }
    )
    assert best_first(trials)["trial_id"].iloc[0] == best


@pytest.mark.parametrize("tests", [[0.5, 0.6, 0.8], [0.5]])
def test_the_spread_is_the_sample_standard_deviation(tests):
    """A cell's test IoU is the mean over its confirmed runs, and its spread their sample standard deviation; NaN for one run."""
    confirmed = {"cell": "c", "phase": "confirm", "status": "finished", "fold": None, "error": None, "val_iou": 0.9}
    trials = pd.DataFrame([{**confirmed, **dict.fromkeys(MEASURES, 0.1), "trial_id": str(iou), "test_iou": iou} for iou in tests])
    study = {"cells": ["c"], "compare": [], "tune": {}, "seeds": len(tests)}
    row = summarise(SimpleNamespace(trials=trials, choices={}, study=study)).iloc[0]
    assert row["test_iou"] == pytest.approx(sum(tests) / len(tests))
    assert row["test_iou_std"] == (pytest.approx(stdev(tests)) if len(tests) > 1 else pytest.approx(float("nan"), nan_ok=True))


@pytest.mark.parametrize(
    ("declared", "remedies"),
    [
        ("LogUniform(low=0.0001, high=0.01)", ["learning_rate: widen the range (--set NAME=LOW..HIGH) or try more points"]),
        ("Choice(values=(0.0001, 0.001, 0.01))", ["learning_rate: list values beyond it (--set NAME=VALUE,VALUE,...)"]),
    ],
)
def test_a_choice_at_the_edge_has_its_remedy(records: Records, declared: str, remedies: list[str]) -> None:
    """The footnote of `*` states the remedy for a range and for listed values; without a mark there is none."""
    cell = records.study["cells"][0]
    study = {**records.study, "tune": {"learning_rate": declared}}
    for at_edge in (["learning_rate"], []):
        choices = {name: {**choice, "at_edge": []} for name, choice in records.choices.items()}
        choices[cell] = {**choices[cell], "at_edge": at_edge}
        text = unwrapped(table_text(replace(records, study=study, choices=choices)))
        assert text.count("* the best value lies at the edge of the tried values") == len(at_edge)
        assert all(remedy in text for remedy in remedies if at_edge)
