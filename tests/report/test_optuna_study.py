"""Export of records to studies of Optuna."""

import math
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from segsweep.config import Choice, LogUniform, Uniform
from segsweep.config.keep import smoothed
from segsweep.errors import UserError
from segsweep.records import Records
from segsweep.records.readings import curves_of
from segsweep.report.optuna_study import write_optuna
from segsweep.sweep.early_stopping import PerCellStopping

STATES = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL, "skipped": TrialState.FAIL}


def study(folder: Path, name: str = "tiny") -> optuna.Study:
    """Return a written study."""
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder / 'optuna.db'}")


TUNED_BY = "val_iou, mean of the last 3 epochs"


@pytest.mark.parametrize(("name", "phase", "measure"), [("tiny", "tune", TUNED_BY), ("tiny-confirmed", "confirm", "test_iou")])
def test_every_ended_trial_is_exported(troubled: Records, tmp_path: Path, name: str, phase: str, measure: str) -> None:
    """Value, axes, curve, state, reason and times of a trial equal those of the records; trials that have not ended are
    omitted."""
    write_optuna(troubled, tmp_path)
    trials = troubled.trials.set_index("trial_id")
    trials = trials[(trials["phase"] == phase) & trials["status"].isin(STATES)]
    found = study(tmp_path, name)
    assert found.direction == optuna.study.StudyDirection.MAXIMIZE
    assert found.user_attrs["value"] == measure
    assert sorted(trial.user_attrs["trial_id"] for trial in found.trials) == sorted(trials.index)
    for trial in found.trials:
        row = trials.loc[trial.user_attrs["trial_id"]]
        assert trial.state == STATES[row["status"]]
        if phase == "tune":
            means = troubled.epochs[troubled.epochs["trial_id"] == row.name]["val_iou"].mean()
            assert trial.value == (None if STATES[row["status"]] == TrialState.FAIL else pytest.approx(means))
        else:
            assert trial.value == (row[measure] if pd.notna(row[measure]) else None)
        assert trial.params | found.user_attrs["constant"] == {axis: row[axis] for axis in ("source", "freeze", "learning_rate")}
        curve = troubled.epochs[troubled.epochs["trial_id"] == row.name].dropna(subset="val_iou")
        assert trial.intermediate_values == dict(zip(curve["epoch"], curve["val_iou"], strict=True))
        started = row["started_at"] if pd.notna(row["started_at"]) else row["ended_at"]
        assert trial.datetime_start == datetime.fromtimestamp(started.timestamp())
        assert trial.datetime_complete == datetime.fromtimestamp(row["ended_at"].timestamp())
        assert trial.user_attrs["cell"] == row["cell"]
        assert trial.user_attrs["seed"] == row["seed"]
        assert trial.user_attrs.get("error") == (row["error"] if pd.notna(row["error"]) else None)
        assert trial.user_attrs.get("test_f1") == (row["test_f1"] if pd.notna(row["test_f1"]) else None)


def test_omitted_trials_are_reported(troubled: Records, tmp_path: Path) -> None:
    """The lines count the trials of each study, describe its value, and give the command that opens it."""
    lines = write_optuna(troubled, tmp_path)
    database = tmp_path / "optuna.db"
    ended = Counter(troubled.trials.loc[troubled.trials["status"].isin(STATES), "phase"])
    counts = (
        f"tiny has {ended['tune']} trials (value: {TUNED_BY}), tiny-confirmed has {ended['confirm']} trials (value: test_iou)"
    )
    assert lines[0] == f"{database}: {counts}; omitted: 3 that have not ended"
    assert lines[1] == f"to open it: optuna-dashboard sqlite:///{database}"


def test_axes_keep_their_declared_ranges(records: Records, tmp_path: Path) -> None:
    """Compared axes are categories, tuned axes have their range and scale, in both studies."""
    rates = np.where(records.trials["source"] == "random", 1e-3, records.trials["learning_rate"])
    write_optuna(replace(records, trials=records.trials.assign(learning_rate=rates)), tmp_path)
    for name in ("tiny", "tiny-confirmed"):
        for trial in study(tmp_path, name).trials:
            assert trial.distributions["learning_rate"] == FloatDistribution(1e-4, 1e-2, log=True)
            assert trial.distributions["freeze"] == CategoricalDistribution(["none", "encoder"])


def test_constant_axes_are_no_parameters(records: Records, tmp_path: Path) -> None:
    """An axis with one value in the trials of a study would get an importance by chance: it is an attribute of the study."""
    trials = records.trials.assign(
        learning_rate=records.trials["learning_rate"].mask(records.trials["phase"] == "confirm", 0.002)
    )
    write_optuna(replace(records, trials=trials), tmp_path)
    confirmed = study(tmp_path, "tiny-confirmed")
    assert confirmed.user_attrs["constant"] == {"learning_rate": 0.002}
    assert {axis for trial in confirmed.trials for axis in trial.params} == {"source", "freeze"}
    assert study(tmp_path).user_attrs["constant"] == {}
    assert set(optuna.importance.get_param_importances(confirmed)) == {"source", "freeze"}


def test_importances_are_said_to_be_of_survivors(troubled: Records, tmp_path: Path) -> None:
    """The study says how many trials its importances rest on, and how many were stopped early or have no result."""
    write_optuna(troubled, tmp_path)
    for name in ("tiny", "tiny-confirmed"):
        found = study(tmp_path, name)
        number = Counter(trial.state for trial in found.trials)
        finished, stopped = number[TrialState.COMPLETE], number[TrialState.PRUNED]
        assert f"the {finished} trials that finished" in found.user_attrs["importances"]
        assert f"{stopped} that were stopped early" in found.user_attrs["importances"]
        assert f"{number[TrialState.FAIL]} without a result" in found.user_attrs["importances"]
    assert Counter(trial.state for trial in study(tmp_path).trials)[TrialState.PRUNED] == 1


def test_optuna_computes_importances_of_axes(records: Records, tmp_path: Path) -> None:
    """Optuna's importances and best trial can be computed."""
    write_optuna(records, tmp_path)
    importances = optuna.importance.get_param_importances(study(tmp_path))
    assert set(importances) == {"source", "freeze", "learning_rate"}
    assert all(math.isfinite(value) for value in importances.values())
    assert study(tmp_path).best_trial.user_attrs["trial_id"] in {choice["chosen"] for choice in records.choices.values()}


@pytest.mark.parametrize(("keep", "lost"), [("val_iou", True), ("val_loss", False), ("val_dice", True), ("last", False)])
def test_the_value_is_the_one_by_which_the_planner_chooses(records: Records, tmp_path: Path, keep: str, lost: bool) -> None:
    """The value of a trial is the one that the planner compares, even if IoU is undefined."""
    number = np.random.default_rng(0)
    epochs = pd.concat(
        [records.epochs.assign(epoch=lambda rows, n=n: rows["epoch"] + 2 * n) for n in range(3)], ignore_index=True
    )
    epochs = epochs[epochs["phase"] == "tune"]
    for name in ("val_iou", "val_loss", "val_dice"):
        epochs[name] = number.random(len(epochs))
    trials = records.trials.assign(keep=keep)
    if lost:
        epochs["val_iou"], trials["val_iou"] = np.nan, np.nan
    changed = replace(records, trials=trials, epochs=epochs)
    write_optuna(changed, tmp_path)
    planner = PerCellStopping(None)
    for trial, curve in curves_of(changed.trials, changed.epochs, "tune").items():
        for epoch, found in curve.items():
            planner.report("cell", trial, epoch, found)
    measure = {"val_iou": "-val_loss", "val_loss": "-val_loss", "val_dice": "val_dice", "last": "val_iou"}[keep]
    assert study(tmp_path).user_attrs["value"] == f"{measure}, mean of the last 3 epochs"
    for trial in study(tmp_path).trials:
        assert trial.state == TrialState.COMPLETE
        assert trial.value == smoothed(planner.curve("cell", trial.user_attrs["trial_id"])).value
        last = epochs[epochs["trial_id"] == trial.user_attrs["trial_id"]].nlargest(3, "epoch")[measure.removeprefix("-")].mean()
        assert abs(trial.value) == pytest.approx(last)


def test_trials_from_before_keep_have_their_validation_iou(records: Records, tmp_path: Path) -> None:
    """Trials of method version 1 were chosen by the validation IoU of their kept epoch, which is their value."""
    write_optuna(replace(records, trials=records.trials.assign(method_version=1)), tmp_path)
    of_trial = records.trials.set_index("trial_id")["val_iou"]
    assert study(tmp_path).user_attrs["value"] == "val_iou"
    assert all(trial.value == of_trial[trial.user_attrs["trial_id"]] for trial in study(tmp_path).trials)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (Uniform(0.0, 1.0), FloatDistribution(0.0, 1.0)),
        (Uniform(np.float64(0.5), 0.75), FloatDistribution(0.0, 0.75)),
        (Choice(0.9, 0.0, 0.5), CategoricalDistribution([0.9, 0.0, 0.5])),
        (LogUniform(np.float64(1e-5), 1), FloatDistribution(1e-5, 1.0, log=True)),
    ],
)
def test_every_kind_of_range_is_converted(
    records: Records, tmp_path: Path, declared: Uniform | Choice | LogUniform, expected: object
) -> None:
    """Every kind of range becomes an Optuna distribution that includes all tried values; a missing value of a compared axis is
    None."""
    tried = [0.01, 0.02] * 8 if isinstance(declared, LogUniform) else [0.0, 0.5] * 8
    declaration = {**records.study, "tune": {"warmup": str(declared)}, "compare": [{"dev_share": [None, 0.5]}]}
    trials = records.trials.assign(warmup=tried, dev_share=[np.nan, 0.5] * 8)
    write_optuna(replace(records, study=declaration, trials=trials), tmp_path)
    distributions = study(tmp_path).trials[0].distributions
    assert distributions["warmup"] == expected
    assert set(distributions["dev_share"].choices) == {None, 0.5}
    assert {trial.params["dev_share"] for trial in study(tmp_path).trials} == {None, 0.5}


def test_a_finished_trial_without_its_value_is_a_failure(records: Records, tmp_path: Path) -> None:
    """Optuna has no complete trials without a value: the reason states that it is undefined."""
    trials = records.trials.assign(test_iou=np.nan)
    write_optuna(replace(records, trials=trials), tmp_path)
    for trial in study(tmp_path, "tiny-confirmed").trials:
        assert trial.state == TrialState.FAIL
        assert trial.user_attrs["error"] == "test_iou is undefined"
        assert trial.user_attrs["val_iou"] > 0


def test_a_path_that_an_address_cannot_contain_is_rejected(records: Records, tmp_path: Path) -> None:
    """SQLite would write into another file than the named one: a `?` is rejected before anything is written."""
    (tmp_path / "why?").mkdir()
    with pytest.raises(UserError, match=r"^--out .*why\?: contains '\?', .*; name a folder without it$"):
        write_optuna(records, tmp_path / "why?")
    assert [path.name for path in tmp_path.rglob("*")] == ["why?"]


def test_a_study_without_results_is_one_line(records: Records, tmp_path: Path) -> None:
    """If no planned trial has ended, the message states it."""
    nothing = replace(records, trials=records.trials.iloc[:0])
    with pytest.raises(UserError, match="tiny: no trial has ended"):
        write_optuna(nothing, tmp_path)
