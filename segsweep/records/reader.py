"""Reading records back as one set of tables, while a sweep runs or afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from filelock import FileLock, Timeout
from pyarrow import compute
from pyarrow.parquet import ParquetFile

from segsweep.errors import UserError
from segsweep.records.lines import Row, read_lines, read_study
from segsweep.records.marks import CHOICES, PLAN, Marks
from segsweep.records.schema import FIRST_METHOD, IDENTITY, TABLES
from segsweep.records.tables import frame, from_arrow, read_entry, rows_of, stacked, to_arrow, typed

WANDB = "wandb:"


@dataclass(frozen=True)
class Records:
    """The tables of one study.

    `trials` has one row a trial: planned, running or ended. `epochs` one row an epoch of a trial or stage (`trial_id`
    is the stage's id, `phase` is "stage"). `images` one row a test image of each confirmed run. `counts` one row per confirmed
    run, test image and class that occurs in its truth or prediction: the pixels that are `hit`, `true` and `predicted`; all
    measures of the test follow from them; versions before 2 of the schema kept none. `stages` one row a stage of a
    source. `confusions` each confirmed run's confusion matrix over its whole test split: the `pixels` of class
    `truth` that were `predicted` as a class, without zeros; earlier versions kept none. `study` is the declaration;
    `choices` maps a cell to the setting that it chose, or the `reason` why it could choose none, and under a protocol with folds
    `CELL fold=N` to that of a fold.
    """

    folder: Path
    trials: pd.DataFrame
    epochs: pd.DataFrame
    images: pd.DataFrame
    counts: pd.DataFrame
    stages: pd.DataFrame
    confusions: pd.DataFrame
    study: Mapping[str, Any]
    choices: Mapping[str, Mapping[str, Any]]

    def sql(self, query: str) -> pd.DataFrame:
        """Return the answer to an SQL query over these tables; see `segsweep.records.sql`."""
        from segsweep.records.query import sql  # which loads records itself

        return sql(query, self)


def load(source: str | Path, study: str | None = None) -> Records:
    """Return the records of a study folder, for instance `runs/transfer_grid`, or of `wandb:ENTITY/PROJECT`.

    `study` names one of the studies of a W&B project; it can be left out where there is only one. Raises `UserError` where there
    is no study, and for records of a later version of segsweep.
    """
    if str(source).startswith(WANDB):
        from segsweep.records.wandb.reader import load_project

        return load_project(str(source).removeprefix(WANDB), study)
    folder = Path(source)
    if study is not None:
        raise UserError(f"{folder}: study={study!r} goes with a W&B project; a folder holds one study")
    if not (folder / "study.json").is_file():
        raise UserError(f"{folder}: holds no study (no study.json)")
    read_study(folder)  # of a version that can be read
    return assemble(folder, _tables(folder))


def assemble(folder: Path, tables: Mapping[str, pd.DataFrame]) -> Records:
    """Return records from their tables, and a folder with the declaration, the plan and the choices.

    Rows are in the order in which trials and stages started, trials that have not run at the end.
    """
    choices = {_choice_key(row): row for row in read_lines(folder / CHOICES)}
    trials = _with_plan(_by_start(_with_method(tables["trials"])), folder, choices)
    stages = _by_start(_with_method(tables["stages"]))
    rank = {identity: rank for rank, identity in enumerate([*stages["stage_id"], *trials["trial_id"]])}
    rest = {
        table: data.iloc[data["trial_id"].map(rank).argsort(kind="stable")].reset_index(drop=True)
        for table, data in tables.items()
        if table not in ("trials", "stages")
    }
    return Records(folder, trials=trials, stages=stages, **rest, study=read_study(folder), choices=choices)


def _choice_key(choice: Row) -> str:
    return f"{choice['cell']} fold={choice['fold']}" if "fold" in choice else str(choice["cell"])


def _with_method(data: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the version of the method that made them, which those of the first version do not say."""
    return data.assign(method_version=data["method_version"].fillna(FIRST_METHOD))


def _by_start(data: pd.DataFrame) -> pd.DataFrame:
    identity = "trial_id" if "trial_id" in data else "stage_id"
    return data.sort_values(["started_at", identity], ignore_index=True)


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
    newest_first = [{table: to_arrow(frame(table, rows)) for table, rows in live.items()}]
    newest_first += [{table: _read(part, table) for table in TABLES} for part in reversed(parts)]
    return {table: from_arrow(table, data) for table, data in _newest(newest_first).items()}


def _read(part: Path, table: str) -> pa.Table:
    """Return a table of a part; an empty one where the part is older than the table."""
    try:
        with ParquetFile(part / f"{table}.parquet", memory_map=True) as file:
            return file.read(use_threads=False)
    except FileNotFoundError:
        return to_arrow(frame(table, []))


def _newest(newest_first: list[dict[str, pa.Table]]) -> dict[str, pa.Table]:
    """Join sets of tables; all rows of a trial or stage come from the first set that has it, also where it has none there."""
    seen: set[str] = set()
    kept: dict[str, list[pa.Table]] = {table: [] for table in TABLES}
    for tables in newest_first:
        own = {identity for table in ("trials", "stages") for identity in tables[table][IDENTITY[table]].to_pylist()}
        outdated = own & seen
        for table, data in tables.items():
            kept[table].append(_without(data, IDENTITY[table], outdated) if outdated else data)
        seen |= own
    return {table: stacked(frames[::-1]) for table, frames in kept.items()}


def _without(data: pa.Table, column: str, values: set[str]) -> pa.Table:
    return data.filter(compute.invert(compute.is_in(data[column], pa.array(values, data[column].type))))


def _with_plan(trials: pd.DataFrame, folder: Path, choices: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Add planned trials that have not run, name cells as the plan does, and mark what is planned and what was chosen.

    What an earlier form of the study ran and the present one does not ask for stays, and is not planned.
    """
    plan = pd.read_parquet(folder / PLAN) if (folder / PLAN).is_file() else None
    marks = Marks.of(plan, choices.values())
    if plan is not None:
        trials = trials.assign(cell=trials["trial_id"].map(marks.cells).fillna(trials["cell"]).astype("string"))
        chosen = trials[trials["trial_id"].isin(marks.chosen)]
        parts = ["cell", "phase", "seed", *(["fold"] if "fold" in plan else [])]  # older plans have no folds
        confirmed = set(_identities(chosen, parts))
        run = set(trials["trial_id"])
        keys = zip(plan["trial_id"], _identities(plan, parts), strict=True)
        missing = [trial not in run and key not in confirmed for trial, key in keys]
        if any(missing):
            waiting = plan[missing].dropna(axis=1, how="all")
            trials = typed("trials", pd.concat([trials.dropna(axis=1, how="all"), waiting], ignore_index=True))
    marked = {name: trials["trial_id"].isin(getattr(marks, name)).astype("boolean") for name in ("planned", "chosen")}
    return trials.assign(**marked)


def _identities(rows: pd.DataFrame, parts: list[str]) -> list[tuple[object, ...]]:
    """Return for every row its values in some columns, -1 for those that are missing."""
    return list(zip(*(rows[part].astype(object).where(rows[part].notna(), -1) for part in parts), strict=True))


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
