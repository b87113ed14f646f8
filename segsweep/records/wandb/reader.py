"""Read a study back from W&B into the same tables as from its folder."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import wandb

from segsweep.errors import UserError
from segsweep.records.lines import Row, read_study
from segsweep.records.schema import ONGOING, TABLES, task_tables
from segsweep.records.study_records import Records, assemble
from segsweep.records.tables import Entry, frame, rows_of, typed
from segsweep.records.wandb.names import START, SUMMARY_JOB, epoch_from, records_artifact, row_from
from segsweep.records.wandb.server import PER_PAGE
from segsweep.tasks.kind import RecordTable

SECONDS = 60  # timeout of a request to W&B
AT_ONCE = 8  # histories that are read in parallel
GOING_ON = ("running", "pending", "preempting")


def load_project(path: str, study: str | None) -> Records:
    """Return the records of a study in the project `ENTITY/PROJECT`; the path may also name the study, `ENTITY/PROJECT/STUDY`.

    Trials, stages and epochs come from the runs. Images, counts, confusion matrices, the declaration and choices come from the
    artifact of the study's summary run, since W&B has no place for them in runs.

    Raises:
        UserError: there is no such project or study, or W&B does not answer.
    """
    if path.count("/") == 2:
        path, _, study = path.rpartition("/")
    if path.count("/") != 1 or not all(path.split("/")):
        raise UserError(f"wandb:{path}: write wandb:ENTITY/PROJECT, or wandb:ENTITY/PROJECT/STUDY")
    try:
        api = wandb.Api(timeout=SECONDS)
        study = _chosen(api, path, study)
        folder = _records_folder(api, path, study)
        runs = api.runs(path, {"group": study}, per_page=PER_PAGE, lazy=False)
        chosen = frozenset(str(run.config.get("trial_id")) for run in runs if run.summary.get("chosen"))
        return assemble(folder, read_study(folder), _tables(folder, list(runs)), chosen)  # newer than the artifact
    except (ValueError, wandb.Error, OSError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"wandb:{path}: {error}") from None


def _chosen(api: wandb.Api, path: str, study: str | None) -> str:
    """Return the name of the study to load, which must have a summary run in the project."""
    found = sorted({str(run.group) for run in api.runs(path, {"jobType": SUMMARY_JOB}, per_page=PER_PAGE, lazy=False)})
    if study is None and len(found) == 1:
        return found[0]
    if study in found:
        return str(study)
    content = f"contains the studies {', '.join(found)}; name one with study=" if found else "contains no study of segsweep"
    raise UserError(f"wandb:{path}: {content}" if study is None else f"wandb:{path}: has no study {study!r}, it {content}")


def _records_folder(api: wandb.Api, path: str, study: str) -> Path:
    """Download the newest artifact of a study's records, and return its folder."""
    artifact = api.artifact(f"{path}/{records_artifact(study)}:latest")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segsweep" / "wandb"
    folder = cache / path / study / str(artifact.version) / str(artifact.digest)
    artifact.download(root=str(folder))
    return folder


def _tables(folder: Path, runs: Sequence[Any]) -> dict[str, pd.DataFrame]:
    """Return the tables: from the artifact where it contains them, otherwise from the runs."""
    tables: dict[str, list[Row]] = {table: [] for table in TABLES}
    of_type = {table.job_type: table for table in task_tables().values()}
    own = [(of_type[run.job_type], run) for run in runs if run.job_type in of_type]
    whole = [(table, run) for table, run in own if table.identity in run.config]  # without users' runs and half-made ones
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for entry in pool.map(lambda run: _entry(*run), whole):
            for name, rows in rows_of(entry).items():
                tables[name] += rows
    stored = {table: pd.read_parquet(file) for table in TABLES if (file := folder / f"{table}.parquet").is_file()}
    return {table: typed(table, stored[table]) if table in stored else frame(table, rows) for table, rows in tables.items()}


def _entry(table: RecordTable, run: Any) -> Entry:
    """Return the record that a run contains. Epochs of earlier attempts are left out; each epoch counts once."""
    row = row_from(table, run.config, run.summary)
    row["status"] = status_of(row.get("status", "running"), run.state)
    rows = [history for history in run.scan_history(page_size=PER_PAGE) if history.get("epoch") is not None]
    epochs = [epoch_from(history) for history in rows if history.get(START) == row.get("started_at")]
    return Entry(table.name, row, {epoch["epoch"]: epoch for epoch in epochs})


def status_of(status: str, state: str) -> str:
    """Return a task's status, given the status in its run's summary and the run's state: without a driver it is `interrupted`."""
    return "interrupted" if status in ONGOING and state not in GOING_ON else status
