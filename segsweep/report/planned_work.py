"""The planned trials and stages of a study by cell, from its recorded plan and the choices of its cells."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from segsweep.records.parts import read_index, read_plan
from segsweep.records.plan_status import PlanStatus, divided, with_those_before
from segsweep.records.study_records import Records

Key = tuple[str, int | None]  # a cell's name and its fold


@dataclass(frozen=True)
class PlannedTrial:
    """A trial of the plan. A confirmed run whose setting is not chosen yet has a provisional id."""

    id: str
    cell: str
    phase: str
    fold: int | None


@dataclass(frozen=True)
class PlannedWork:
    """The planned trials, the ids of the stages that sources need, and the choices of cells by name and fold.

    `unnamed` is the number of trials that a search has planned but not suggested or chosen yet.
    """

    trials: tuple[PlannedTrial, ...]
    stages: frozenset[str]
    choices: Mapping[Key, Mapping[str, Any]]
    unnamed: int = 0

    @classmethod
    def of(cls, records: Records) -> "PlannedWork":
        """Return the planned work of records; without a recorded plan, all trials and stages that ran."""
        plan = read_plan(records.folder, read_index(records.folder))
        choices = {(str(choice["cell"]), choice.get("fold")): choice for choice in records.choices.values()}
        if plan is None:
            return cls(tuple(_planned(records.trials)), frozenset(records.stages["stage_id"]), choices)
        needed = with_those_before(PlanStatus.of(plan, records.choices.values()).stages, records.all_stages)
        trials = tuple(_planned(divided(plan)[0]))
        return cls(trials, frozenset(needed), choices, 0 if choices else _unnamed(records.study, len(trials)))

    def by_cell(self, cells: list[str]) -> dict[str, list[str]]:
        """Return the ids of each cell's trials, beginning with `cells`. Several cells can share a tuning trial."""
        found: dict[str, list[str]] = {cell: [] for cell in cells}
        confirmed: set[Key] = set()
        for trial in self.trials:
            trials, key = found.setdefault(trial.cell, []), (trial.cell, trial.fold)
            chosen = self.choices.get(key, {}).get("confirm") if trial.phase == "confirm" else None
            if not chosen:
                trials.append(trial.id)
            elif key not in confirmed:
                confirmed.add(key)
                trials += chosen
        return found

    def unchosen(self) -> dict[str, str]:
        """Return the confirmed runs that cannot run because their cell could not choose a setting: id -> the reason."""
        confirm = ((trial, self.choices.get((trial.cell, trial.fold), {})) for trial in self.trials if trial.phase == "confirm")
        return {trial.id: str(choice["reason"]) for trial, choice in confirm if choice.get("reason")}


def _unnamed(study: Mapping[str, Any], known: int) -> int:
    """Return how many trials of a search, and of its confirmed runs, are not known before it has chosen; 0 for a grid."""
    search = study.get("search")
    if search is None:
        return 0
    return int(search["trials"]) - known + min(int(search["confirm"]), len(study["cells"])) * int(study["seeds"])


def _planned(rows: pd.DataFrame) -> Iterator[PlannedTrial]:
    """Yield the trials of a plan. Plans of earlier versions have no folds."""
    folds = rows["fold"] if "fold" in rows else pd.Series(None, index=rows.index, dtype=object)
    for trial, cell, phase, fold in zip(rows["trial_id"], rows["cell"], rows["phase"], folds, strict=True):
        yield PlannedTrial(str(trial), str(cell), str(phase), None if pd.isna(fold) else int(fold))
