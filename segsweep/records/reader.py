"""Read records as one set of tables, while a sweep runs or afterwards."""

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
from segsweep.records.lines import REWRITE, Row, declared, read_declaration
from segsweep.records.parts import Part, parts_of, read_index
from segsweep.records.plan_status import CHOICES
from segsweep.records.query import answer, tables_of
from segsweep.records.schema import ONGOING, TABLES, identity_column, task_tables
from segsweep.records.study_records import Records, assemble
from segsweep.records.tables import frame, from_arrow, read_live, rows_of, stacked, to_arrow


def load(source: str | Path, study: str | None = None) -> Records:
    """Return the records of one study.

    Args:
        source: A study folder, such as `runs/transfer_grid`, or a W&B project as `wandb:ENTITY/PROJECT`.
        study: Name of the study in a W&B project; required only if the project has several.

    Returns:
        The tables of the study (`Records`); of a running sweep, their present state.

    Raises:
        UserError: there is no such study, its records are damaged, or they are of a later version of segsweep.
    """
    if str(source).startswith(WANDB):
        from segsweep.records.wandb.reader import load_project

        return load_project(str(source).removeprefix(WANDB), study)
    folder = Path(source)
    if study is not None:
        raise UserError(f"{folder}: study={study!r} is for a W&B project; a folder holds one study")
    return _load(folder, driver_alive(folder), tuple(TABLES))


def load_tasks(folder: Path, alive: bool) -> Records:
    """Return the records of a study folder faster, with only the rows of trials and stages for tasks that have ended.

    The tables of epochs and tests contain only tasks that run or have just ended. `alive` states whether a driver is alive.
    Raises as `load` does.
    """
    return _load(folder, alive, tuple(task_tables()))


def _load(folder: Path, alive: bool, tables_of_parts: tuple[str, ...]) -> Records:
    if not declared(folder):
        if (folder / INDEX).is_file():
            raise DamagedRecordsError(folder / STUDY, "is missing", REWRITE)
        raise UserError(f"{folder}: holds no study (no study.json)")
    declaration, checked = read_declaration(folder)  # raises for records of a later version
    tables = tables_in(folder, alive, tables_of_parts)
    if checked and not (folder / CHOICES).is_file():
        raise DamagedRecordsError(folder / CHOICES, "is missing", REWRITE)
    return assemble(folder, declaration, tables)


def sql(query: str, *studies: str | Path | Records) -> pd.DataFrame:
    """Return the result of an SQL query (DuckDB's dialect) over the tables of one or more studies.

    The tables are trials, epochs, images, counts, stages and confusions, with the rows that belong to the present declarations of
    the studies; `all_trials`, `all_epochs` and so on contain all rows. Rows of several studies are concatenated; the column
    `study` names the study. The query can neither read nor write anything else. Undefined values (NaN) are NULL.

    Args:
        query: The query.
        studies: Folders, W&B addresses or loaded records; by default all study folders in `runs/`.

    Raises:
        UserError: the query fails (the message lists tables and similar columns), there is no study, or two studies have the same
            name.
    """
    queried = studies or study_folders()
    if not queried:
        raise UserError(f"{RUNS}/: holds no study to query; run one, or name the folders of studies")
    found = [study if isinstance(study, Records) else load(study) for study in queried]
    for one, other in combinations(found, 2):
        if one.study["name"] == other.study["name"]:
            raise UserError(
                f"{one.folder} and {other.folder}: both hold the study {one.study['name']!r}, whose rows would count twice; "
                "name the studies to query, with only one of these two"
            )
    return answer(query, tables_of(found))


def tables_in(folder: Path, alive: bool, of_parts: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Return the tables of a study's folder as they are written, without the plan.

    Only the tables `of_parts` are read from parts. Raises `DamagedRecordsError`.
    """
    # a record that is in lines and in a part counts once; the lines are read first, since they may become a part meanwhile
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
    """Join lines and parts; all rows of a trial or stage come from the newest of them that contains it.

    Raises `DamagedRecordsError` for a missing or damaged part, unless all of its trials and stages are in newer ones.
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
    lines = {table: [to_arrow(frame(table, rows))] for table, rows in live.items() if rows or not kept[table]}
    return {table: stacked([*frames[::-1], *lines.get(table, [])]) for table, frames in kept.items()}


def _identities(tables: Mapping[str, pa.Table]) -> set[str]:
    return {identity for table, known in task_tables().items() for identity in tables[table][known.identity].to_pylist()}


def _without(data: pa.Table, column: str, values: set[str]) -> pa.Table:
    return data.filter(compute.invert(compute.is_in(data[column], pa.array(values, data[column].type))))
