"""The sentence on what a budget or a deadline has left out, from records as the driver writes them."""

from pathlib import Path
from typing import Any

import pytest

from segsweep.records import load
from segsweep.records.schema import SCHEMA_VERSION
from segsweep.records.writer import RecordWriter
from segsweep.report.not_started import budget_line

CELLS = ["source=a", "source=b"]
BUDGET: dict[str, Any] = {"budget_hours": 1.5}
DEADLINE: dict[str, Any] = {"deadline": "2026-12-01T07:00:00+01:00"}


def row(trial: str, cell: str, phase: str, fold: int | None = None) -> dict[str, Any]:
    """Return a planned trial."""
    return {"trial_id": trial, "cell": cell, "phase": phase, "status": "not_run", "seed": 0, "fold": fold}


def plan(points: int = 3, seeds: int = 2, folds: tuple[int | None, ...] = (None,)) -> list[dict[str, Any]]:
    """Return the planned trials of two cells."""
    rows = []
    for cell in CELLS:
        for fold in folds:
            rows += [row(f"{cell} {fold} t{number}", cell, "tune", fold) for number in range(points)]
            rows += [row(f"{cell} {fold} c{number}-undecided", cell, "confirm", fold) for number in range(seeds)]
    return rows


def line(folder: Path, rows: list[dict[str, Any]], done: list[str], starts: list[dict[str, Any]], **choices: Any) -> str | None:
    """Return the sentence of a study in which the trials `done` have ended, after some starts."""
    with RecordWriter(folder / "s") as writer:
        for facts in starts:
            declared = {"schema_version": SCHEMA_VERSION, "name": "s", "cells": CELLS, "seeds": 2, "compare": [], "tune": {}}
            writer.declare(declared, facts)
        writer.plan(rows)
        known = {each["trial_id"]: each for each in rows}
        for trial in done:
            writer.start("trials", trial, {**known.get(trial, row(trial, CELLS[0], "confirm")), "study": "s"})
            writer.end(trial, "finished", {})
        for cell, choice in choices.items():
            writer.choose(f"source={cell}", {"chosen": None, "confirm": [], "at_edge": [], **choice})
    return budget_line(load(folder / "s"))


def test_points_and_seeds_that_cells_have_are_counted(tmp_path: Path) -> None:
    """A confirmed run counts under the id that its cell has chosen; cells may differ."""
    done = ["source=a None t0", "source=a None t1", "source=b None t0", "run"]
    chosen = {"chosen": "source=a None t0", "confirm": ["run", "other"]}
    said = line(tmp_path, plan(), done, [BUDGET], a=chosen)
    assert said == (
        "Budget of 1.5 device-hours: 1 to 2 of 3 tuning points and 0 to 1 of 2 seeds per cell; 6 runs not started. "
        "The same command with a larger budget, or without it, goes on."
    )


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            DEADLINE,
            "Deadline 2026-12-01 07:00: 0 of 1 seeds per cell; 2 runs not started. The same command with a later deadline, or w",
        ),
        (
            BUDGET | DEADLINE,
            "Budget of 1.5 device-hours, deadline 2026-12-01 07:00: 0 of 1 seeds per cell; 2 runs not started. The ",
        ),
    ],
)
def test_each_limit_is_named(tmp_path: Path, facts: dict[str, Any], said: str) -> None:
    """A study without tuned axes has no tuning points."""
    found = line(tmp_path, plan(points=0, seeds=1), [], [facts])
    assert found is not None
    assert found.startswith(said)


def test_numbers_are_those_of_a_fold(tmp_path: Path) -> None:
    """Under a protocol with folds each fold of a cell is tuned and confirmed by itself."""
    found = line(tmp_path, plan(folds=(1, 2)), ["source=a 1 t0"], [BUDGET])
    assert found is not None
    assert "0 to 1 of 3 tuning points and 0 of 2 seeds per cell and fold; 19 runs not started" in found


@pytest.mark.parametrize("starts", [[{}], [BUDGET, {}]])
def test_a_last_start_without_limits_has_left_out_nothing(tmp_path: Path, starts: list[dict[str, Any]]) -> None:
    """If it was interrupted, that is another matter."""
    assert line(tmp_path, plan(), [], starts) is None


def test_a_complete_study_has_left_out_nothing(tmp_path: Path) -> None:
    """A budget that sufficed is not mentioned; runs that a cell without a setting cannot have do not count."""
    rows = [*plan(points=1, seeds=0), row("c-undecided", CELLS[0], "confirm"), row("d-undecided", CELLS[1], "confirm")]
    done = ["source=a None t0", "source=b None t0", "run"]
    a, b = {"chosen": "source=a None t0", "confirm": ["run"]}, {"reason": "no setting could be chosen"}
    assert line(tmp_path, rows, done, [BUDGET], a=a, b=b) is None
