"""Which trials and stages a study asks for, by cell: from its plan and from what its cells have chosen."""

from typing import Any

import pandas as pd

from segsweep.records.parts import read_index, read_plan
from segsweep.records.plan_status import PlanStatus, divided, with_those_before
from segsweep.records.study_records import Records

Key = tuple[str, int | None]  # a cell's name and its fold


def cell_trials(records: Records) -> dict[str, list[str]]:
    """Return the ids of every cell's trials, cells in the study's order; several cells may share a tuning trial.

    Confirmed runs whose settings are not chosen yet have provisional ids.
    """
    found: dict[str, list[str]] = {str(cell): [] for cell in records.study.get("cells", ())}
    confirmed: set[Key] = set()
    choices = _choices(records)
    for trial, cell, phase, fold in _planned(records):
        trials, key = found.setdefault(cell, []), (cell, fold)
        chosen = choices.get(key, {}).get("confirm") if phase == "confirm" else None
        if not chosen:
            trials.append(trial)
        elif key not in confirmed:
            confirmed.add(key)
            trials += chosen
    return found


def unchosen_trials(records: Records) -> dict[str, str]:
    """Return the ids of the confirmed runs that cells without a setting cannot have, each with the reason."""
    choices = _choices(records)
    confirm = ((trial, choices.get((cell, fold), {})) for trial, cell, phase, fold in _planned(records) if phase == "confirm")
    return {trial: str(choice["reason"]) for trial, choice in confirm if choice.get("reason")}


def planned_stages(records: Records) -> set[str]:
    """Return the ids of the stages that the study's sources need, with those before them."""
    plan = read_plan(records.folder, read_index(records.folder))
    if plan is None:
        return set(records.stages["stage_id"])
    return with_those_before(PlanStatus.of(plan, records.choices.values()).stages, records.all_stages)


def _choices(records: Records) -> dict[Key, dict[str, Any]]:
    return {(str(choice["cell"]), choice.get("fold")): dict(choice) for choice in records.choices.values()}


def _planned(records: Records) -> list[tuple[str, str, str, int | None]]:
    """Return the id, cell, phase and fold of every planned trial; of all that ran where there is no plan."""
    plan = read_plan(records.folder, read_index(records.folder))
    rows = records.trials if plan is None else divided(plan)[0]
    folds = rows["fold"] if "fold" in rows else pd.Series(None, index=rows.index, dtype=object)
    plain = [None if pd.isna(fold) else int(fold) for fold in folds]
    return list(zip(rows["trial_id"], rows["cell"], rows["phase"], plain, strict=True))
