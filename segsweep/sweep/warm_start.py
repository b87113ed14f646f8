"""Results of earlier studies on the same target, from which a search starts."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from segsweep.config.keep import smoothed
from segsweep.config.setting_fields import DEFAULT_KEEP
from segsweep.config.work import TRIAL_VERSION
from segsweep.errors import UserError
from segsweep.records.damage import INDEX, STUDY
from segsweep.records.reader import load
from segsweep.records.readings import curves_of
from segsweep.records.study_records import Records
from segsweep.sweep.plan import Plan
from segsweep.sweep.resume import plain_rows
from segsweep.sweep.search_sampler import Observation
from segsweep.sweep.search_space import OutsideError, SearchSpace, known_values

EARLIER = ("tune", "search")  # phases whose trials have the same seed and no test


def warm_start(plan: Plan, out: Path) -> tuple[list[Observation], list[str]]:
    """Return the results that the search of a plan starts from, and a line on each earlier study.

    `out` is the folder of studies. Trials that finished or were stopped count, in the order of their ids. They must have the
    same target data, protocol, measure and method, and their settings must lie in the space of the search. Raises `UserError`
    if a study does not exist, or has no such trial.
    """
    if plan.study.search is None:
        return [], []
    space = SearchSpace(plan.cells, plan.study.tune)
    found: dict[str, Observation] = {}
    lines = []
    for name in plan.study.search.warm_start:
        folder = _folder(name, out)
        if folder.resolve() == (out / plan.study.name).resolve():
            raise UserError(f"warm start from {name}: is this search itself, whose trials count anyway; leave it out")
        records = load(folder)
        trials = _comparable(records, plan)
        inside = dict(_observations(records, trials, space))
        ended = int(records.all_trials["phase"].isin(EARLIER).sum())
        if not inside:
            raise _useless(name, records, ended)
        lines.append(f"warm start from {name}: {len(inside)} of its {ended} tuning trials lie in the space of this search")
        found |= inside
    return list(found.values()), lines


def _useless(name: str, records: Records, ended: int) -> UserError:
    """Return the error for an earlier study of which no trial can be used."""
    trials = records.all_trials
    if "target_data" not in trials or trials["target_data"].isna().all():
        why = "its records do not name their target's data, because an earlier version of segsweep wrote them"
    else:
        why = f"none of its {ended} tuning trials has the target data, protocol, measure and settings of this search"
    return UserError(f"warm start from {name}: {why}; leave it out")


def _folder(name: str, out: Path) -> Path:
    """Return the folder of an earlier study, given the folder or a name in `out`."""
    for folder in (Path(name).expanduser(), out / name):
        if (folder / STUDY).is_file() or (folder / INDEX).is_file():
            return folder
    raise UserError(f"warm start from {name}: no such study; name a study's folder, or one in {out}")


def _comparable(records: Records, plan: Plan) -> pd.DataFrame:
    """Return the ended tuning trials that were measured as those of a plan are."""
    trials = records.all_trials
    same = trials["phase"].isin(EARLIER) & trials["status"].isin(["finished", "stopped"])
    same &= trials["method_version"] == TRIAL_VERSION
    for column, value in (("target_data", {cell.target_data for cell in plan.cells}), ("protocol", {plan.study.target.protocol})):
        same &= trials[column].isin(value) if column in trials else False  # older records lack the columns
    same &= trials["keep"].fillna(DEFAULT_KEEP).isin({cell.settings.keep for cell in plan.cells})
    return trials[same].sort_values("trial_id", ignore_index=True)


def _observations(records: Records, trials: pd.DataFrame, space: SearchSpace) -> Iterator[tuple[str, Observation]]:
    """Yield the id and the result of every trial that lies in the space of the search."""
    epochs = records.all_epochs[records.all_epochs["trial_id"].isin(set(trials["trial_id"]))]
    curves = curves_of(trials, epochs, *EARLIER)
    for row in plain_rows(trials):
        curve = [reading for _, reading in sorted(curves.get(row["trial_id"], {}).items())]
        try:
            _, settings, decided = space.locate(known_values(row))
        except OutsideError:
            continue
        if curve:
            share = len(curve) / settings.results
            yield row["trial_id"], Observation(decided, str(row["status"]), smoothed(curve).value, share)
