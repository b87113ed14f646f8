"""How fairly the learning rate was tuned, from the tuning trials."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from segsweep.records.study_records import Records
from segsweep.report.answer.contrasts import Contrasts
from segsweep.report.answer.tuned_rates import TunedRates, best_at_one_rate, tuned_rates

RATES = (1e-4, 1e-3, 1e-2, 1e-1)
Trial = tuple[str, Sequence[float]]  # status, and a reading per epoch


def made(cells: Mapping[str, Sequence[Trial]], chosen: Mapping[str, int | None], **changes: Any) -> Records:
    """Return records whose cells have one trial per rate; `chosen` is the position of the chosen one, at the edge if first."""
    rows, epochs = [], []
    for cell, trials in cells.items():
        for point, (status, curve) in enumerate(trials):
            identity = f"{cell}-{point}"
            rows.append((identity, cell.split("/")[0], "tune", status, RATES[point], point, _fold(cell)))
            epochs += [(identity, epoch, value) for epoch, value in enumerate(curve, start=1)]
    columns = ["trial_id", "cell", "phase", "status", "learning_rate", "point", "fold"]
    choices = {
        cell: {
            "cell": cell.split("/")[0],
            "chosen": None if point is None else f"{changes.get('shared', cell)}-{point}",
            "at_edge": ["learning_rate"] if point == 0 else [],
            **({"fold": _fold(cell)} if _fold(cell) else {}),
        }
        for cell, point in chosen.items()
    }
    tables = {each.name: pd.DataFrame() for each in fields(Records) if each.type is pd.DataFrame} | {
        "trials": pd.DataFrame(rows, columns=columns),
        "epochs": pd.DataFrame(epochs, columns=["trial_id", "epoch", "val_iou"]),
    }
    return Records(Path(), **tables, study={"tune": {"learning_rate": "LogUniform(low=0.0001, high=0.1)"}}, choices=choices)


def _fold(cell: str) -> int | None:
    return int(cell.split("/")[1]) if "/" in cell else None


def finished(value: float) -> Trial:
    """Return a trial of six epochs that ends at a value, .1 above the mean of its first three."""
    return "finished", [value - 0.1] * 3 + [value] * 3


def found(*arguments: Any, **changes: Any) -> TunedRates:
    tuned = tuned_rates(made(*arguments, **changes))
    assert tuned is not None
    return tuned


def test_a_stopped_trial_is_predicted_by_the_gain_of_the_finished_ones() -> None:
    """Its prediction is its own mean reading plus the finished trials' mean gain from its epoch; a failed one has none."""
    trials = [finished(0.6), ("stopped", [0.2, 0.3, 0.4]), finished(0.7), ("failed", [math.nan])]
    panel = found({"a": trials}, {"a": 2}).panels[0]
    assert [tried.rate for tried in panel.tried] == list(RATES)
    assert [tried.epoch for tried in panel.tried] == [6, 3, 6, 0]
    assert panel.tried[1].value == pytest.approx(0.3)
    assert panel.tried[1].predicted == pytest.approx(0.4)
    assert panel.tried[2].predicted == panel.tried[2].value == pytest.approx(0.7)
    assert np.isnan([panel.tried[3].value, panel.tried[3].predicted]).all()
    assert panel.chosen == 1e-2


def test_the_plateau_holds_neighbours_that_finished_within_what_matters() -> None:
    """It ends before a trial that is worse by more, or that did not finish."""
    trials = [finished(0.695), finished(0.7), finished(0.692), ("stopped", [0.7])]
    assert found({"a": trials}, {"a": 1}).panels[0].plateau_decades == pytest.approx(2)
    trials[0] = finished(0.68)
    assert found({"a": trials}, {"a": 1}).panels[0].plateau_decades == pytest.approx(1)
    trials[2] = ("stopped", [0.7])
    assert found({"a": trials}, {"a": 1}).panels[0].plateau_decades == 0
    none = found({"a": [("stopped", [0.5])], "b": [finished(0.5)]}, {"a": None, "b": 0})
    assert np.isnan(none.panels[0].plateau_decades)
    assert none.panels[0].chosen is None


def test_one_rate_costs_what_cells_lose_at_their_common_best() -> None:
    """The rate with the least mean loss is named with each cell's loss; without early stopping nothing is uncertain."""
    tuned = found(
        {"a": [finished(0.5), finished(0.7), finished(0.69)], "b": [finished(0.4), finished(0.5), finished(0.58)]},
        {"a": 1, "b": 2},
    )
    assert tuned.one_rate is not None
    assert tuned.one_rate.rate == 1e-2
    assert tuned.one_rate.of_cells == pytest.approx({"a": 0.01, "b": 0})
    assert tuned.one_rate.cost == pytest.approx(0.005)
    assert tuned.one_rate.most == pytest.approx(0.005)


def test_stopped_trials_widen_the_cost() -> None:
    """The cost by prediction counts a stopped trial as predicted; the most it can be counts it as the worst of its cell."""
    a = [finished(0.5), ("stopped", [0.6] * 3), finished(0.72)]
    b = [finished(0.4), finished(0.6), ("stopped", [0.35] * 3)]
    tuned = found({"a": a, "b": b}, {"a": 2, "b": 1})
    assert tuned.one_rate is not None
    assert tuned.one_rate.rate == 1e-3  # a is predicted at .7 there
    assert tuned.one_rate.cost == pytest.approx(0.02 / 2)
    assert tuned.one_rate.most == pytest.approx(min(0.22 + 0.2, 0.22, 0.25) / 2)


def test_a_failed_rate_counts_as_the_worst() -> None:
    """A rate that fails in one cell is as bad there as the cell's worst trial."""
    tuned = found({"a": [("failed", []), finished(0.7), finished(0.4)], "b": [finished(0.9), finished(0.5)]}, {"a": 1, "b": 0})
    assert tuned.one_rate is not None
    assert tuned.one_rate.rate == 1e-4
    assert tuned.one_rate.of_cells == pytest.approx({"a": 0.3, "b": 0})


def test_folds_tune_for_themselves() -> None:
    """Every fold has a panel; a cell's cost is the mean over its folds, and a cell is at the edge if a fold is."""
    tuned = found({"a/1": [finished(0.7), finished(0.6)], "a/2": [finished(0.5), finished(0.52)]}, {"a/1": 0, "a/2": 1})
    assert [(panel.cell, panel.fold) for panel in tuned.panels] == [("a", 1), ("a", 2)]
    assert tuned.at_edge == ("a",)
    assert tuned.one_rate is not None
    assert tuned.one_rate.of_cells == pytest.approx({"a": 0.01})


def test_equal_trials_of_two_cells_are_found_by_the_choice() -> None:
    """Trials that two cells share are recorded under one name; both cells have their panel."""
    tuned = found({"a": [finished(0.5), finished(0.6)]}, {"a": 1, "b": 1}, shared="a")
    assert [panel.cell for panel in tuned.panels] == ["a", "b"]
    assert tuned.panels[0].tried == tuned.panels[1].tried


def test_one_rate_can_change_which_cells_are_best() -> None:
    """A cell that loses much at the common rate leaves the best set; the intervals stay as they are."""
    number = np.random.default_rng(0)
    scores = np.array([0.7, 0.6, 0.4])[:, None, None] + number.normal(0, 0.002, (3, 4, 1)) + number.normal(0, 0.01, (3, 4, 50))
    contrasts = Contrasts.of([scores])
    assert contrasts.best().tolist() == [True, False, False]
    cells = {"a": [finished(0.5), finished(0.7)], "b": [finished(0.6), finished(0.2)], "c": [finished(0.4), finished(0.1)]}
    tuned = found(cells, {"a": 1, "b": 0, "c": 0})
    assert tuned.one_rate is not None
    assert best_at_one_rate(contrasts, ["a", "b", "c"], tuned.one_rate).tolist() == [False, True, False]


def test_a_study_that_does_not_tune_the_axis_has_no_panels() -> None:
    """An axis that is not tuned, and a study without ended trials, give None; rates that no cell shares give no common rate."""
    tuned = made({"a": [finished(0.5)]}, {"a": 0})
    assert tuned_rates(tuned, "weight_decay") is None
    assert tuned_rates(made({}, {})) is None
    assert tuned_rates(made({"a": [("running", [0.5])]}, {"a": None})) is None
    apart = made({"a": [finished(0.5)], "b": [("running", []), finished(0.5)]}, {"a": 0, "b": 1})
    found_apart = tuned_rates(apart)
    assert found_apart is not None
    assert found_apart.one_rate is None


def test_the_rates_of_a_study_are_those_of_its_trials(records: Records) -> None:
    """In a study that ran, every cell has a panel with its tuning trials, and the chosen rate is one of the tried."""
    tuned = tuned_rates(records)
    assert tuned is not None
    tuning = records.trials[records.trials["phase"] == "tune"]
    assert {panel.cell for panel in tuned.panels} == set(records.study["cells"])
    for panel in tuned.panels:
        rates = [tried.rate for tried in panel.tried]
        assert rates == sorted(tuning.loc[tuning["cell"] == panel.cell, "learning_rate"])
        assert panel.chosen in rates
    assert tuned.one_rate is not None
    assert set(tuned.one_rate.of_cells) == set(records.study["cells"])
    assert 0 <= tuned.one_rate.cost <= tuned.one_rate.most
