"""A study's records in the formats of other tools: which there are."""

from collections.abc import Callable, Mapping
from pathlib import Path

from segsweep.errors import disk_errors, unknown
from segsweep.records.study_records import Records
from segsweep.report.new_folder import ELSEWHERE, make_new
from segsweep.report.optuna_study import write_optuna
from segsweep.report.table_files import write_csv, write_parquet
from segsweep.report.tensorboard import write_tensorboard

Writer = Callable[[Records, Path], list[str]]
WRITERS: Mapping[str, Writer] = {
    "tensorboard": write_tensorboard,
    "optuna": write_optuna,
    "csv": write_csv,
    "parquet": write_parquet,
}


def export_records(records: Records, tool: str, folder: Path | None = None) -> list[str]:
    """Write a study's records for another tool into a folder, new or empty (default: `exports/STUDY-TOOL`).

    Returns lines that say what was written, and how it is opened. Raises `UserError` for a tool that is not in `WRITERS` and for
    a folder that is not empty.
    """
    if tool not in WRITERS:
        raise unknown("--to", tool, list(WRITERS))
    folder = folder or Path("exports") / f"{records.study['name']}-{tool}"
    make_new("--out", folder)
    with disk_errors("--out", folder, ELSEWHERE):
        return WRITERS[tool](records, folder)
