"""Forks: the records of a study, as the start of a variant of it under another name."""

from pathlib import Path

from segsweep.errors import UserError
from segsweep.records.damage import INDEX
from segsweep.records.driver_lock import driver_alive
from segsweep.records.lines import declared, read_study
from segsweep.records.parts import PARTS, write_part
from segsweep.records.reader import load, tables_in
from segsweep.records.schema import TABLES, identity_column, task_tables
from segsweep.records.study_records import Records
from segsweep.records.tables import typed

USED = ("finished", "stopped")  # statuses of the tasks that a fork takes over; others run again


def load_origin(folder: Path) -> Records:
    """Return the records of the study from which a fork starts. Raises `UserError` if there are none."""
    if not declared(folder):
        raise UserError(f"--fork: {folder} holds no study to start from; run it first, or use --name instead of --fork")
    return load(folder)


def identity_of(folder: Path) -> str | None:
    """Return the permanent identity of a study's records; None if the folder holds no study."""
    return str(read_study(folder)["records_id"]) if declared(folder) else None


def is_begun(folder: Path) -> bool:
    """Return whether a study folder has records already, so that the same command continues a fork."""
    return declared(folder) or (folder / INDEX).is_file() or (folder / PARTS / "000001").is_dir()


def fork(origin: Path, folder: Path, name: str) -> None:
    """Write the finished and stopped tasks of a study as the first part of the records of a study `name`, in a new folder.

    The part appears by one rename; a fork that is killed before starts again. Models and stages stay in the store.
    """
    tables = tables_in(origin, driver_alive(origin), tuple(TABLES))
    ended = {
        identity
        for table, known in task_tables().items()
        for identity, status in zip(tables[table][known.identity], tables[table]["status"], strict=True)
        if status in USED
    }
    (folder / PARTS).mkdir(parents=True, exist_ok=True)
    kept = {table: data[data[identity_column(table)].isin(ended)].reset_index(drop=True) for table, data in tables.items()}
    write_part(folder, 1, {table: typed(table, data.assign(study=name)) for table, data in kept.items()})
