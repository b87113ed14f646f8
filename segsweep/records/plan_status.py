"""Cell names and marks (planned, chosen) of trials in the present declaration of a study, from its plan and its choices."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.records.parts import CHOICES, PLAN, read_choices, read_index, read_plan

STAGE, SCORE = "stage", "score"  # phases of plan rows that name a stage, and scores of a source

__all__ = ["CHOICES", "PLAN", "SCORE", "STAGE", "PlanStatus"]


@dataclass(frozen=True)
class PlanStatus:
    """Cell names of trials, and which trials are planned, and chosen.

    Attributes:
        cells: Name of each trial's cell in the present plan.
        planned: Ids of planned trials; None without a plan, when every trial counts as planned.
        chosen: Ids of trials with the chosen setting, and of their confirmed runs.
        stages: Ids of stages that the plan names, and of stages trained to choose a source's learning rate.
        scores: Ids of scores that the plan names.
    """

    cells: Mapping[str, str]
    planned: frozenset[str] | None
    chosen: frozenset[str]
    stages: frozenset[str] = frozenset()
    scores: frozenset[str] = frozenset()

    @classmethod
    def of(cls, plan: pd.DataFrame | None, choices: Iterable[Mapping[str, Any]], more: Iterable[str] = ()) -> "PlanStatus":
        """Return the marks that a plan (if there is one) and the choices of cells imply. Trials in `more` are chosen too."""
        listed = list(choices)
        chosen = frozenset(trial for choice in listed for trial in (choice["chosen"], *choice["confirm"]) if trial).union(more)
        if plan is None:
            return cls({}, None, chosen)
        trials, stages = divided(plan.filter(["phase", "trial_id", "cell", "stage_id"]))  # few columns are faster to select from
        cells = {trial: choice["cell"] for choice in listed for trial in choice["confirm"]}
        names = cells | dict(zip(trials["trial_id"], trials["cell"], strict=True))
        tried = (rate["stage_id"] for choice in listed for rate in choice.get("source", {}).get("tried", ()))
        return cls(names, chosen.union(trials["trial_id"]), chosen, stages.union(tried), planned_scores(plan))

    @classmethod
    def read(cls, folder: Path) -> "PlanStatus":
        """Return the present marks in a study's folder."""
        index = read_index(folder)
        return cls.of(read_plan(folder, index), read_choices(folder, index))

    def is_planned(self, trial: str) -> bool:
        """Return whether a trial belongs to the present declaration of the study."""
        return self.planned is None or trial in self.planned

    def row(self, trial: str, cell: str) -> dict[str, Any]:
        """Return the marked columns of a trial whose recorded cell name is `cell`."""
        return {"cell": self.cells.get(trial, cell), "planned": self.is_planned(trial), "chosen": trial in self.chosen}


def divided(plan: pd.DataFrame) -> tuple[pd.DataFrame, frozenset[str]]:
    """Return the trial rows of a plan, and the ids of its stages (none in plans of earlier versions)."""
    phases = plan["phase"].tolist()
    stages = [row for row, phase in enumerate(phases) if phase is not pd.NA and phase == STAGE]
    trials = [row for row, phase in enumerate(phases) if phase is pd.NA or phase not in (STAGE, SCORE)]
    return plan.iloc[trials], frozenset(plan["stage_id"].iloc[stages]) if stages else frozenset()


def planned_scores(plan: pd.DataFrame) -> frozenset[str]:
    """Return the ids of the scores that a plan names."""
    return frozenset(plan["score_id"].dropna()) if "score_id" in plan else frozenset()


def with_those_before(stage_ids: Iterable[str], stages: pd.DataFrame) -> set[str]:
    """Return the ids of stages and of all stages before them in their chains, from the table of stages."""
    before = dict(zip(stages["stage_id"], stages["parent_stage_id"], strict=True))
    found: set[str] = set()
    waiting = set(stage_ids)
    while waiting:
        found |= waiting
        waiting = {before[stage] for stage in waiting if stage in before and pd.notna(before[stage])} - found
    return found
