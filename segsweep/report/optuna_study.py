"""Export of records to studies of Optuna, in a file for optuna-dashboard."""

import ast
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from segsweep.config.keep import SMOOTHED, Reading, smoothed
from segsweep.config.setting_fields import DEFAULT_KEEP
from segsweep.errors import UserError
from segsweep.records.lines import Row
from segsweep.records.readings import curves_of
from segsweep.records.schema import FINAL
from segsweep.records.study_records import Records
from segsweep.records.times import TIMES
from segsweep.report.cells import compared_axes, tuned_axes
from segsweep.report.method import KEEP_SINCE, MEASURES
from segsweep.report.rows import plain_rows
from segsweep.tasks.trial_task import COLUMNS

DATABASE = "optuna.db"
Curve = Mapping[int, Reading]  # epoch -> reading
STATES = {
    "finished": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "skipped": TrialState.FAIL,
}
TEST_MEASURES = [
    name for name in COLUMNS if name.startswith("test_") and name not in ("test_images", "test_iou")
]  # without the measures of single classes
ATTRIBUTES = ("trial_id", "cell", "seed", "status", "best_epoch", "val_iou", *TEST_MEASURES)  # few: each costs Optuna 0.5 ms


def write_optuna(records: Records, folder: Path) -> list[str]:
    """Write `optuna.db` (SQLite) with two studies of Optuna: NAME has the tuning or search trials, NAME-confirmed the confirmed
    runs.

    Both are maximised. The value of a tuning trial is the value by which the planner chooses a setting: the mean reading of
    `keep` over the last three epochs, negated for a loss; for trials of versions before `keep`, the validation IoU. The value of
    a confirmed run is its test IoU, the measure of the study.

    Parameters are the compared axes (as categories) and the tuned axes (with their declared ranges) that differ between the
    trials of a study. An axis with one value has no importance; it is in the study's attribute `constant`. Optuna computes
    importances from COMPLETE trials alone, and the attribute `importances` says how many these are.

    Intermediate values are the readings of all epochs. Trials that were stopped early are PRUNED; failed and skipped trials are
    FAIL, with the reason in `error`. Trials that have not ended or are no longer planned are omitted.

    Returns lines for the user: the written studies, and the command that opens them. Raises `UserError` if no trial has ended,
    and for a folder with `?` in its path, which an SQLite address cannot contain.
    """
    if "?" in str(folder):
        raise UserError(f"--out {folder}: contains '?', which an SQLite address of Optuna cannot; name a folder without it")
    trials, name = records.trials, str(records.study["name"])
    ended = trials[trials["status"].isin(FINAL)]
    if ended.empty:
        raise UserError(f"{name}: no trial has ended; run the study, or wait until its first trial has ended")
    curves = curves_of(trials, records.epochs, "tune", "search", "confirm")
    path = folder / DATABASE
    written = []
    with _storage(path) as storage:
        for title, phases in ((name, ("tune", "search")), (f"{name}-confirmed", ("confirm",))):
            study = optuna.create_study(storage=storage, study_name=title, direction="maximize")
            written.append(_fill(study, records, ended[ended["phase"].isin(phases)], curves))
    omitted = f"; omitted: {len(trials) - len(ended)} that have not ended" if len(ended) < len(trials) else ""
    return [f"{path}: {', '.join(written)}{omitted}", f"to open it: optuna-dashboard {shlex.quote(f'sqlite:///{path}')}"]


def _fill(study: optuna.Study, records: Records, trials: pd.DataFrame, curves: Mapping[str, Curve]) -> str:
    """Add the trials of one phase and the attributes of the study; return a line for the user."""
    rows, (distributions, constant) = plain_rows(trials), _distributions(records, trials)
    measure = "test_iou" if (trials["phase"] == "confirm").any() else _measures(rows, curves)
    of_rows = [curves.get(row["trial_id"], {}) for row in rows]
    added = [_trial(row, _value(row, curve), measure, distributions, curve) for row, curve in zip(rows, of_rows, strict=True)]
    study.add_trials(added)
    study.set_user_attr("value", measure)
    study.set_user_attr("importances", _survivors(added))
    study.set_user_attr("constant", constant)
    return f"{study.study_name} has {len(rows)} trials (value: {measure})"


@contextmanager
def _storage(path: Path) -> Iterator[RDBStorage]:
    """Yield a new SQLite storage without log lines of Optuna; close its file at the end."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = RDBStorage(f"sqlite:///{path}")
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()
        optuna.logging.set_verbosity(verbosity)


def _value(row: Row, curve: Curve) -> float | None:
    """Return the value by which a tuning trial is chosen, or the test IoU of a confirmed run; None if there is none."""
    if row["phase"] == "confirm":
        return cast("float | None", row["test_iou"])
    if row["method_version"] < KEEP_SINCE:
        return cast("float | None", row["val_iou"])
    return smoothed([found for _, found in sorted(curve.items())]).value if curve else None


def _measures(rows: Sequence[Row], curves: Mapping[str, Curve]) -> str:
    """Return the names of the measures by which tuning trials are chosen."""
    names = []
    for row in rows:
        column = MEASURES[row["keep"] or DEFAULT_KEEP][0]
        if row["method_version"] < KEEP_SINCE:
            names.append("val_iou")
        elif STATES[row["status"]] is not TrialState.FAIL and row["trial_id"] in curves:
            by_loss = column == "val_loss" or row[column] is None
            names.append(f"{'-val_loss' if by_loss else column}, mean of the last {SMOOTHED} epochs")
    return " or ".join(dict.fromkeys(names)) or "none"


def _trial(
    row: Row, value: float | None, measure: str, distributions: Mapping[str, BaseDistribution], curve: Curve
) -> FrozenTrial:
    state, error = STATES[row["status"]], row["error"]
    if state is TrialState.COMPLETE and value is None:  # Optuna does not allow this
        state, error = TrialState.FAIL, f"{measure} is undefined"
    attributes = {name: row[name] for name in ATTRIBUTES} | {"error": error}
    trial = create_trial(
        state=state,
        value=None if state is TrialState.FAIL else value,
        params={axis: row[axis] for axis in distributions},
        distributions=dict(distributions),
        user_attrs={name: value for name, value in attributes.items() if value is not None},
        intermediate_values={epoch: found.value for epoch, found in curve.items()},
    )
    times = [datetime.fromtimestamp(row[name].timestamp()) for name in TIMES if row[name] is not None]  # Optuna's are local
    if times:
        trial.datetime_start, trial.datetime_complete = times[0], times[-1]
    return trial


def _survivors(trials: Sequence[FrozenTrial]) -> str:
    """Return which trials Optuna's importances rest on: early stopping removes bad trials, and with them their effect."""
    number = Counter(trial.state for trial in trials)
    return (
        f"Optuna computes them from the {number[TrialState.COMPLETE]} trials that finished; {number[TrialState.PRUNED]} that were"
        f" stopped early and {number[TrialState.FAIL]} without a result do not count"
    )


def _distributions(records: Records, trials: pd.DataFrame) -> tuple[dict[str, BaseDistribution], dict[str, Any]]:
    """Return the distribution of every axis that differs between trials, and the value of every other axis.

    The distributions are the same for all trials, as Optuna requires.
    """
    axes = [*compared_axes(records), *tuned_axes(records)]
    tried = {axis: list(dict.fromkeys(row[axis] for row in plain_rows(trials[[axis]]))) for axis in axes}
    tuned = {axis: _declared(text, tried[axis]) for axis, text in records.study["tune"].items() if tried[axis]}
    differ = {axis: values for axis, values in tried.items() if len(values) > 1}
    constant = {axis: values[0] for axis, values in tried.items() if len(values) == 1}
    return {axis: tuned.get(axis) or CategoricalDistribution(values) for axis, values in differ.items()}, constant


def _declared(text: str, tried: Sequence[Any]) -> BaseDistribution:
    """Return the declared distribution of a tuned axis, widened to include all tried values.

    These can lie outside the declared range: values are rounded, and a setting without effect has its default.
    """
    call = ast.parse(re.sub(r"np\.\w+\(([^()]*)\)", r"\1", text), mode="eval").body  # NumPy numbers are written with their type
    assert isinstance(call, ast.Call), text
    assert isinstance(call.func, ast.Name), text
    keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    if call.func.id == "Choice":
        return CategoricalDistribution(list(dict.fromkeys([*keywords["values"], *tried])))
    numbers = [keywords["low"], keywords["high"], *tried]
    return FloatDistribution(min(numbers), max(numbers), log=call.func.id == "LogUniform")
