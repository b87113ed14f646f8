"""The `segsweep` command."""

from pathlib import Path

import pandas as pd
import pytest

from segsweep.cli.commands import command_line


def call(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    try:
        command_line(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """`segsweep COMMAND --help` shows an example for every command that `segsweep --help` lists."""
    assert call("--help") == 0
    listed = capsys.readouterr().out
    for name in ("init", "datasets", "models", "prepare", "status", "studies", "report", "sql", "export", "predict", "verify"):
        assert name in listed
        assert call(name, "--help") == 0
        assert f"example: segsweep {name}" in capsys.readouterr().out


def test_report_reads_the_records(copy_of_finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`report` prints the table and writes the table, the sheet of predictions, and the page, which it names."""
    study = copy_of_finished / "runs" / "tiny"
    assert call("report", str(study)) == 0
    table, page = capsys.readouterr().out.rsplit("\nPage: ", 1)
    assert (study / "table.txt").read_text().strip() == table.strip()
    assert Path(page.strip()).read_text().startswith("<!doctype html>")
    assert len((study / "table.csv").read_text().splitlines()) == 5


def test_the_example_of_sql_queries_planned_trials(capsys: pytest.CaptureFixture[str]) -> None:
    """The example in the help queries the table without trials of earlier methods."""
    assert call("sql", "--help") == 0
    assert "from trials where phase='confirm'" in " ".join(capsys.readouterr().out.split())


def test_sql_prints_the_answer(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`sql` queries a study given by folder or name, or all studies in `runs/`, as a table or CSV; a bad query is one line.

    Numbers are rounded in the table and exact in the CSV; a result without rows states it.
    """
    monkeypatch.chdir(finished)
    query = "select phase, count(*) trials from trials group by 1 order by 1"
    for named in (["runs/tiny"], ["tiny"], []):
        assert call("sql", query, *named, "--csv") == 0
        assert capsys.readouterr().out == "phase,trials\nconfirm,8\ntune,8\n"
    assert call("sql", query) == 0
    assert capsys.readouterr().out.split() == ["phase", "trials", "confirm", "8", "tune", "8"]
    query = "select 1759312345.678::double moment, 1/7 share, 5e-7::double small, 3 whole"
    assert call("sql", query) == 0
    assert capsys.readouterr().out.split()[4:] == ["1759312345.68", "0.142857", "5e-07", "3"]
    assert call("sql", query, "--csv") == 0
    assert "1759312345.678,0.14285714285714285,5e-07,3" in capsys.readouterr().out
    assert call("sql", "select phase, seed from trials where seed > 99") == 0
    assert capsys.readouterr().out == "phase seed\n(no rows)\n"
    assert call("sql", "select nope from stages") == 2
    assert "all columns: describe stages" in capsys.readouterr().err
    assert call("sql", "describe stages") == 0
    assert "stage_id" in capsys.readouterr().out


def test_export_rejects_unusable_folders(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not empty, and a store without the weights, are one-line errors."""
    study = str(finished / "runs" / "tiny")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert call("export", study, "--best", str(tmp_path / "full")) == 2
    assert "is not empty" in capsys.readouterr().err
    assert call("export", study, "--best", str(tmp_path / "new"), "--store", str(tmp_path / "empty")) == 2
    error = capsys.readouterr().err
    assert f"--store {tmp_path / 'empty'}: there is no such folder" in error
    assert not (tmp_path / "empty").exists()


def test_export_writes_records_for_other_tools(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--to TOOL` writes into `--out`, or a folder named after study and tool, and prints how to open it."""
    study = str(finished / "runs" / "tiny")
    assert call("export", study, "--to", "parquet", "--out", str(tmp_path / "tables")) == 0
    assert len(pd.read_parquet(tmp_path / "tables" / "trials.parquet")) == 16
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert call("export", study, "--to", "optuna") == 0
    assert capsys.readouterr().out.endswith("to open it: optuna-dashboard sqlite:///exports/tiny-optuna/optuna.db\n")
    assert (tmp_path / "exports" / "tiny-optuna" / "optuna.db").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "one of the arguments --best --to is required"),
        (("--to", "csv", "--best", "new"), "--best: not allowed with argument --to"),
        (("--to", "excel"), "error: --to: unknown name 'excel'; known: tensorboard, optuna, csv, parquet"),
        (("--to", "csv", "--store", "new"), "error: --store: only allowed with --best; omit it"),
        (("--best", "new", "--out", "new"), "error: --out: only allowed with --to; omit it"),
    ],
)
def test_export_has_exactly_one_purpose(
    finished: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exactly one of `--best` and `--to` is required, with only the options that belong to it."""
    assert call("export", str(finished / "runs" / "tiny"), *arguments) == 2
    assert message in capsys.readouterr().err
