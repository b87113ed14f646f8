"""How a study as last declared calls and marks its trials: by its plan, and by what cells have chosen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.records.parts import CHOICES, PLAN, read_choices, read_index, read_plan

STAGE = "stage"  # the phase of a plan's rows that name a stage

__all__ = ["CHOICES", "PLAN", "STAGE", "PlanStatus"]


@dataclass(frozen=True)
class PlanStatus:
    """The cells of trials by the plan's names, and which trials are planned, and chosen or confirm what was chosen.

    `planned` is None where there is no plan: then everything is. `stages` are the ids of the stages that the plan names, and of
    those with which sources were tried.
    """

    cells: Mapping[str, str]
    planned: frozenset[str] | None
    chosen: frozenset[str]
    stages: frozenset[str] = frozenset()

    @classmethod
    def of(cls, plan: pd.DataFrame | None, choices: Iterable[Mapping[str, Any]], more: Iterable[str] = ()) -> "PlanStatus":
        """Return the marks that follow from a plan, where there is one, and from the choices of cells; `more` is chosen too."""
        listed = list(choices)
        chosen = frozenset(trial for choice in listed for trial in (choice["chosen"], *choice["confirm"]) if trial).union(more)
        if plan is None:
            return cls({}, None, chosen)
        trials, stages = divided(plan)
        cells = {trial: choice["cell"] for choice in listed for trial in choice["confirm"]}
        names = cells | dict(zip(trials["trial_id"], trials["cell"], strict=True))
        tried = (rate["stage_id"] for choice in listed for rate in choice.get("source", {}).get("tried", ()))
        return cls(names, chosen.union(trials["trial_id"]), chosen, stages.union(tried))

    @classmethod
    def read(cls, folder: Path) -> "PlanStatus":
        """Return the marks that a study's folder holds now."""
        index = read_index(folder)
        return cls.of(read_plan(folder, index), read_choices(folder, index))

    def is_planned(self, trial: str) -> bool:
        """Return whether a trial belongs to the study as it was last declared."""
        return self.planned is None or trial in self.planned

    def row(self, trial: str, cell: str) -> dict[str, Any]:
        """Return the marked columns of a trial, whose own name for its cell is `cell`."""
        return {"cell": self.cells.get(trial, cell), "planned": self.is_planned(trial), "chosen": trial in self.chosen}


def divided(plan: pd.DataFrame) -> tuple[pd.DataFrame, frozenset[str]]:
    """Return the rows of a plan that are trials, and the ids of the stages that it names; earlier versions named none."""
    named = (plan["phase"] == STAGE).fillna(False).astype(bool)
    return plan[~named], frozenset(plan.loc[named, "stage_id"]) if named.any() else frozenset()


def with_those_before(stage_ids: Iterable[str], stages: pd.DataFrame) -> set[str]:
    """Return the ids of stages, and of all that come before them in their chains, by the table of stages."""
    before = dict(zip(stages["stage_id"], stages["parent_stage_id"], strict=True))
    found: set[str] = set()
    waiting = set(stage_ids)
    while waiting:
        found |= waiting
        waiting = {before[stage] for stage in waiting if stage in before and pd.notna(before[stage])} - found
    return found
