"""Reading records back as one set of tables, while a sweep runs or afterwards."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import compute

from segsweep.errors import UserError
from segsweep.records.damage import INDEX, STUDY, DamagedRecordsError
from segsweep.records.driver_lock import driver_alive
from segsweep.records.find import RUNS, WANDB, study_folders
from segsweep.records.lines import ANEW, Row, declared, read_declaration
from segsweep.records.parts import Part, parts_of, read_index
from segsweep.records.plan_status import CHOICES
from segsweep.records.query import answer, tables_of
from segsweep.records.schema import ONGOING, TABLES, identity_column, task_tables
from segsweep.records.study_records import Records, assemble
from segsweep.records.tables import frame, from_arrow, read_live, rows_of, stacked, to_arrow


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
    return _load(folder, driver_alive(folder), tuple(TABLES))


def load_tasks(folder: Path, alive: bool) -> Records:
    """Return the records of a study folder without what has ended but the rows of trials and stages, and so sooner.

    Tables of epochs and tests hold what runs or has just ended. `alive` says whether a driver lives. Raises as `load` does.
    """
    return _load(folder, alive, tuple(task_tables()))


def _load(folder: Path, alive: bool, tables_of_parts: tuple[str, ...]) -> Records:
    if not declared(folder):
        if (folder / INDEX).is_file():
            raise DamagedRecordsError(folder / STUDY, "is missing", ANEW)
        raise UserError(f"{folder}: holds no study (no study.json)")
    declaration, checked = read_declaration(folder)  # of a version that can be read
    tables = _tables(folder, alive, tables_of_parts)
    if checked and not (folder / CHOICES).is_file():
        raise DamagedRecordsError(folder / CHOICES, "is missing", ANEW)
    return assemble(folder, declaration, tables)


def sql(query: str, *studies: str | Path | Records) -> pd.DataFrame:
    """Return the answer to an SQL query (DuckDB's) over the tables trials, epochs, images, counts, stages and confusions.

    These hold what belongs to the studies as they were last declared; `all_trials`, `all_epochs` and so on what was ever run.
    `studies` are folders, W&B projects or loaded records, by default all study folders below `runs/`. Their tables stand below
    one another, with the column `study`, and are those of `load`: of a running sweep the state at this moment. The query
    can read and write nothing else. What is undefined (NaN) is NULL. Raises `UserError` for a query that cannot be answered,
    saying which tables and columns there are, where there is no study, and where two hold a study of the same name.
    """
    asked = studies or study_folders()
    if not asked:
        raise UserError(f"{RUNS}/: holds no study to ask; run one, or name the folders of studies")
    found = [study if isinstance(study, Records) else load(study) for study in asked]
    for one, other in combinations(found, 2):
        if one.study["name"] == other.study["name"]:
            raise UserError(
                f"{one.folder} and {other.folder}: both hold the study {one.study['name']!r}, whose rows would count twice; "
                "name the studies to ask, only one of these two among them"
            )
    return answer(query, tables_of(found))


def _tables(folder: Path, alive: bool, of_parts: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Join parts and lines: lines are read first, since they may become a part meanwhile; what stands twice counts once.

    Of parts only the tables `of_parts` are read.
    """
    live: dict[str, list[Row]] = {name: [] for name in TABLES}
    for path in sorted((folder / "live").glob("*.jsonl")):
        if (entry := read_live(path)) is not None:
            if entry.status in ONGOING and not alive:
                entry.row["status"] = "interrupted"
            for table, rows in rows_of(entry).items():
                live[table] += rows
    parts = parts_of(folder, read_index(folder))
    return {table: from_arrow(table, data) for table, data in _newest(live, parts[::-1], of_parts).items()}


def _newest(live: Mapping[str, list[Row]], newest_first: list[Part], of_parts: tuple[str, ...]) -> dict[str, pa.Table]:
    """Join lines and parts; all rows of a trial or stage come from the first of them that has it, also where it has none there.

    Raises `DamagedRecordsError` for a part that is missing or damaged, unless all that it held stands elsewhere.
    """
    seen = {row[known.identity] for table, known in task_tables().items() for row in live[table]}
    kept: dict[str, list[pa.Table]] = {table: [] for table in TABLES}
    for part in newest_first:
        if part.is_damaged:
            seen |= set(part.ids)
            continue
        try:
            tables = {table: part.read(table) for table in of_parts}
        except DamagedRecordsError:
            if not part.ids or set(part.ids) - seen:
                raise
            continue
        own = _identities(tables)
        outdated = own & seen
        for table, data in tables.items():
            kept[table].append(_without(data, identity_column(table), outdated) if outdated else data)
        seen |= own
    return {table: stacked([*frames[::-1], to_arrow(frame(table, live[table]))]) for table, frames in kept.items()}


def _identities(tables: Mapping[str, pa.Table]) -> set[str]:
    return {identity for table, known in task_tables().items() for identity in tables[table][known.identity].to_pylist()}


def _without(data: pa.Table, column: str, values: set[str]) -> pa.Table:
    return data.filter(compute.invert(compute.is_in(data[column], pa.array(values, data[column].type))))
