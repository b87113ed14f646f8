"""Reading records back as one set of tables, while a sweep runs or afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from segsweep.errors import UserError
from segsweep.records.lines import Row, read_lines, read_study
from segsweep.records.schema import IDENTITY, TABLES
from segsweep.records.tables import frame, read_entry, rows_of, typed


@dataclass(frozen=True)
class Records:
    """The tables of one study.

    `trials` has one row a trial: planned, running or ended. `epochs` one row an epoch of a trial or stage (`trial_id`
    is the stage's id, `phase` is "stage"). `images` one row a test image of each confirmed run. `stages` one row a
    stage of a source. `confusions` each confirmed run's confusion matrix over its whole test split: the `pixels` of class
    `truth` that were `predicted` as a class, without zeros; earlier versions kept none. `study` is the declaration;
    `choices` maps a cell to the setting that it chose.
    """

    folder: Path
    trials: pd.DataFrame
    epochs: pd.DataFrame
    images: pd.DataFrame
    stages: pd.DataFrame
    confusions: pd.DataFrame
    study: Mapping[str, Any]
    choices: Mapping[str, Mapping[str, Any]]


def load(folder: str | Path) -> Records:
    """Return the records of a study folder, for instance `runs/transfer_grid`.

    Raises `UserError` where there is no study, and for records of a later version of segsweep.
    """
    folder = Path(folder)
    if not (folder / "study.json").is_file():
        raise UserError(f"{folder}: holds no study (no study.json)")
    study = read_study(folder)
    choices = {row["cell"]: row for row in read_lines(folder / "choices.jsonl")}
    tables = _tables(folder)
    tables["trials"] = _with_plan(tables["trials"], folder, choices)
    return Records(folder, **tables, study=study, choices=choices)


def _tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Join parts and lines: lines are read first, since they may become a part meanwhile; what stands twice counts once."""
    alive = driver_alive(folder)
    live: dict[str, list[Row]] = {name: [] for name in TABLES}
    for path in sorted((folder / "live").glob("*.jsonl")):
        if (entry := read_entry(read_lines(path))) is not None:
            if entry.status == "running" and not alive:
                entry.row["status"] = "interrupted"
            for table, rows in rows_of(entry).items():
                live[table] += rows
    parts = sorted(path for path in (folder / "parts").glob("*") if path.name.isdigit())
    newest_first = [{table: frame(table, rows) for table, rows in live.items()}]
    newest_first += [{table: _read(part, table) for table in TABLES} for part in reversed(parts)]
    return _newest(newest_first)


def _read(part: Path, table: str) -> pd.DataFrame:
    """Return a table of a part; an empty one where the part is older than the table."""
    file = part / f"{table}.parquet"
    return pd.read_parquet(file) if file.is_file() else frame(table, [])


def _newest(newest_first: list[dict[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Join sets of tables; all rows of a trial or stage come from the first set that has it, also where it has none there."""
    seen: set[str] = set()
    kept: dict[str, list[pd.DataFrame]] = {table: [] for table in TABLES}
    for tables in newest_first:
        for table, data in tables.items():
            if len(rows := data[~data[IDENTITY[table]].isin(seen)]):
                kept[table].append(rows.dropna(axis=1, how="all"))
        seen |= {*tables["trials"]["trial_id"], *tables["stages"]["stage_id"]}
    return {
        table: typed(table, pd.concat(frames[::-1], ignore_index=True)) if frames else frame(table, [])
        for table, frames in kept.items()
    }


def _with_plan(trials: pd.DataFrame, folder: Path, choices: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Add planned trials that have not run, name cells as the plan does, and mark what is planned and what was chosen.

    What an earlier form of the study ran and the present one does not ask for stays, and is not planned.
    """
    planned: set[str] = set()
    chosen = {trial for choice in choices.values() for trial in (choice["chosen"], *choice["confirm"])}
    if (folder / "plan.parquet").is_file():
        plan = pd.read_parquet(folder / "plan.parquet")
        cells = {trial: choice["cell"] for choice in choices.values() for trial in choice["confirm"]}
        cells |= dict(zip(plan["trial_id"], plan["cell"], strict=True))
        trials = trials.assign(cell=trials["trial_id"].map(cells).fillna(trials["cell"]).astype("string"))
        confirmed = set(
            zip(*(trials.loc[trials["trial_id"].isin(chosen), key] for key in ("cell", "phase", "seed")), strict=True)
        )
        run = set(trials["trial_id"])
        keys = zip(plan["trial_id"], plan["cell"], plan["phase"], plan["seed"], strict=True)
        missing = [trial not in run and (cell, phase, seed) not in confirmed for trial, cell, phase, seed in keys]
        if any(missing):
            waiting = plan[missing].dropna(axis=1, how="all")
            trials = typed("trials", pd.concat([trials.dropna(axis=1, how="all"), waiting], ignore_index=True))
        planned = set(plan["trial_id"])
    marks = {"planned": trials["trial_id"].isin(planned | chosen), "chosen": trials["trial_id"].isin(chosen)}
    return trials.assign(**{name: mark.astype("boolean") for name, mark in marks.items()})


def driver_alive(folder: Path) -> bool:
    """Return whether a driver writes to this study now."""
    if not (folder / "driver.lock").is_file():
        return False
    try:
        with FileLock(folder / "driver.lock", timeout=0):
            return False
    except (Timeout, PermissionError):
        return True
    except OSError:  # a disk that cannot be written has no driver
        return False
