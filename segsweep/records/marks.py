"""How a study as last declared calls and marks its trials: by its plan, and by what cells have chosen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.records.lines import read_lines

PLAN, CHOICES = "plan.parquet", "choices.jsonl"  # in a study's folder


@dataclass(frozen=True)
class Marks:
    """The cells of trials by the plan's names, and which trials are planned, and chosen or confirm what was chosen."""

    cells: Mapping[str, str]
    planned: frozenset[str]
    chosen: frozenset[str]

    @classmethod
    def of(cls, plan: pd.DataFrame | None, choices: Iterable[Mapping[str, Any]]) -> "Marks":
        """Return the marks that follow from a plan, where there is one, and from the choices of cells."""
        told = list(choices)
        chosen = frozenset(trial for choice in told for trial in (choice["chosen"], *choice["confirm"]) if trial)
        if plan is None:
            return cls({}, chosen, chosen)
        cells = {trial: choice["cell"] for choice in told for trial in choice["confirm"]}
        return cls(cells | dict(zip(plan["trial_id"], plan["cell"], strict=True)), chosen.union(plan["trial_id"]), chosen)

    @classmethod
    def read(cls, folder: Path) -> "Marks":
        """Return the marks that a study's folder holds now."""
        plan = pd.read_parquet(folder / PLAN, columns=["trial_id", "cell"]) if (folder / PLAN).is_file() else None
        return cls.of(plan, read_lines(folder / CHOICES))

    def row(self, trial: str, cell: str) -> dict[str, Any]:
        """Return the marked columns of a trial, whose own name for its cell is `cell`."""
        return {"cell": self.cells.get(trial, cell), "planned": trial in self.planned, "chosen": trial in self.chosen}
