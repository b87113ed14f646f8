"""Rows of the records that come from the planner: planned trials and the choices of cells."""

from collections.abc import Mapping
from typing import Any

from segsweep.config.study import SOURCE_RATE
from segsweep.config.work import Trial
from segsweep.sweep.decisions import CellChoice, SourceChoice
from segsweep.sweep.planner import Planner
from segsweep.tasks.trial_task import trial_columns


def planned_rows(planner: Planner) -> list[dict[str, Any]]:
    """Return a row for every planned trial. A trial whose settings are not all chosen yet has a provisional id.

    Such trials are the confirmed runs of tuned cells, and all trials of a cell whose source's learning rate is not chosen yet.
    The rows of a search are those of its trials so far and, once it has chosen them, of its confirmed runs.
    """
    plan, rows = planner.plan, []
    for cell in plan.cells:
        source = dict.fromkeys((SOURCE_RATE, "stage_id")) if planner.is_undecided(cell) else {}
        rows += [_planned(trial, source) for trial in cell.tuning]
        if plan.study.search is None or cell.key in planner.choices:
            rows += [_planned(trial, {**source, **dict.fromkeys(plan.study.tune)}) for trial in cell.confirm(cell.settings)]
    return rows


def _planned(trial: Trial, undecided: Mapping[str, None]) -> dict[str, Any]:
    identity = f"{trial.trial_id}-undecided" if undecided else trial.trial_id
    return {**trial_columns(trial), **undecided, "trial_id": identity, "status": "not_run"}


def choice_columns(choice: CellChoice, source: SourceChoice | None, points: int | None = None) -> dict[str, Any]:
    """Return the record of a cell's choice, or of the reason why there is none; with the fold, if the cell has one.

    `points` is the number of tuning points from which a study with a budget has chosen.
    """
    return {
        **({"fold": choice.settings.fold} if choice.settings.fold is not None else {}),
        "chosen": choice.trial.trial_id if choice.trial else None,
        "confirm": [trial.trial_id for trial in choice.confirm],
        "at_edge": list(choice.at_edge),
        **({"reason": choice.reason} if choice.reason else {}),
        **({"points": points} if points is not None else {}),
        **source_choice(source),
    }


def source_choice(choice: SourceChoice | None) -> dict[str, Any]:
    """Return the record of a source's tuned learning rate: the chosen rate, and every tried rate with its reading."""
    if choice is None:
        return {}
    tried = [
        {"learning_rate": rate.learning_rate, "stage_id": rate.stage.spec_id, "reading": reading}
        for rate, reading in choice.tried
    ]
    return {"source": {"stage": choice.chosen.stage.name, "learning_rate": choice.chosen.learning_rate, "tried": tried}}
