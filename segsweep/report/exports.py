"""Export of a study's records to the formats of other tools."""

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
    """Write a study's records for another tool into a new or empty folder (default: `exports/STUDY-TOOL`).

    Returns lines for the user: the written files, and the command that opens them. Raises `UserError` for a tool that is not in
    `WRITERS`, and for a folder that is not empty.
    """
    if tool not in WRITERS:
        raise unknown("--to", tool, list(WRITERS))
    folder = folder or Path("exports") / f"{records.study['name']}-{tool}"
    make_new("--out", folder)
    with disk_errors("--out", folder, ELSEWHERE):
        return WRITERS[tool](records, folder)
