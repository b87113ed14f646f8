"""The ranking of runs, and the remedy for a choice at an edge."""

from dataclasses import replace

import pandas as pd
import pytest

from segsweep.records import Records
from segsweep.report.cells import best_first
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
        text = table_text(replace(records, study=study, choices=choices))
        notes = [line for line in text.splitlines() if line.startswith("* the best value lies at the edge of the tried values")]
        assert len(notes) == len(at_edge)
        assert all(remedy in note for note in notes for remedy in remedies)
