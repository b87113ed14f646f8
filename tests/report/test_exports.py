"""Export of records to other tools."""

from pathlib import Path

import pytest

from segsweep.errors import UserError
from segsweep.records import Records
from segsweep.report.exports import WRITERS, export_records


def test_an_unknown_tool_is_rejected_before_anything_is_written(records: Records, tmp_path: Path) -> None:
    """The message lists the known tools."""
    with pytest.raises(UserError, match="--to: unknown name 'excel'; known: tensorboard, optuna, csv, parquet"):
        export_records(records, "excel", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tool", WRITERS)
def test_writing_twice_into_a_folder_is_rejected(records: Records, tool: str, tmp_path: Path) -> None:
    """Every tool's files need a new or empty folder, so that no entry is written twice."""
    lines = export_records(records, tool, tmp_path / "out")
    assert lines[0].startswith(str(tmp_path / "out"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(UserError, match="is not empty; remove it, or name another"):
        export_records(records, tool, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_default_folder_has_the_names_of_study_and_tool(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a folder, the files are in `exports/STUDY-TOOL`."""
    monkeypatch.chdir(tmp_path)
    export_records(records, "csv")
    assert (tmp_path / "exports" / "tiny-csv" / "trials.csv").is_file()
