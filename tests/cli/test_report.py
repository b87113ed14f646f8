"""`segsweep report` on several studies, and its table for LaTeX."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_study import Drawn
from recorded_study import recorded
from rich.console import Console

from segsweep.cli import report as command
from segsweep.cli.command_options import add_report_options
from segsweep.errors import UserError
from segsweep.records import Records


@pytest.fixture(scope="module")
def studies() -> dict[str, Records]:
    """Three drawn studies, by the names under which the command finds them."""
    compare = {"source": ["random", "near"]}
    return {name: recorded(Drawn(compare, images=8, random_state=state)) for name, state in (("one", 0), ("two", 1), ("more", 2))}


def call(studies: dict[str, Records], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Call the command's function on drawn studies, without writing what it writes for every study."""
    parser = argparse.ArgumentParser()
    add_report_options(parser)
    monkeypatch.setattr(command, "find_study", lambda name: name)
    monkeypatch.setattr(command, "load", lambda name: studies[name])
    monkeypatch.setattr(command, "write_report", lambda *_: "the table")
    monkeypatch.setattr(command, "write_clips", lambda *_: [])
    monkeypatch.setattr(command, "write_page", lambda *_: "the page")
    command.report(parser.parse_args(arguments), Console())


def test_several_studies_are_compared_with_the_first(
    studies: dict[str, Records], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With several studies the first stands beside each of the others."""
    call(studies, monkeypatch, "one", "two", "more")
    first, second = capsys.readouterr().out.split("\n\n\n")
    assert first.startswith("A: one\nB: two\n")
    assert second.startswith("A: one\nB: more\n")


def test_latex_is_written_into_the_study(
    studies: dict[str, Records], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`--latex` writes `table.tex` into the study's folder and names it; without the option there is no such file."""
    own = replace(studies["one"], folder=tmp_path, study={**studies["one"].study, "store": "store"})
    call({"one": own}, monkeypatch, "one")
    assert not list(tmp_path.iterdir())
    call({"one": own}, monkeypatch, "one", "--latex")
    assert (tmp_path / "table.tex").read_text(encoding="utf-8").startswith("% ")
    assert capsys.readouterr().out.endswith(f"LaTeX: {tmp_path / 'table.tex'}\n")


def test_figures_are_written_into_the_study(
    studies: dict[str, Records], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`--figures` writes what `write_figures` draws into the study's folder `figures`, and names every file."""
    own = replace(studies["one"], folder=tmp_path, study={**studies["one"].study, "store": "store"})
    monkeypatch.setattr(command, "write_figures", lambda answer, folder: [folder / f"{answer.study}.svg"])
    call({"one": own}, monkeypatch, "one", "--figures")
    assert capsys.readouterr().out.endswith(f"Figure: {tmp_path / 'figures' / 'drawn.svg'}\n")


@pytest.mark.parametrize("option", ["--latex", "--figures"])
@pytest.mark.parametrize(("named", "reason"), [(["one"], "one has no folder"), (["one", "two"], "name only one")])
def test_files_need_the_folder_of_one_study(
    studies: dict[str, Records], monkeypatch: pytest.MonkeyPatch, named: list[str], reason: str, option: str
) -> None:
    """`--latex` and `--figures` are refused for a study from W&B, which has no folder, and for several studies."""
    with pytest.raises(UserError, match=f"^{option}: .*{reason}"):
        call(studies, monkeypatch, *named, option)


def test_a_study_without_planned_trials_is_refused(studies: dict[str, Records], monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that has just been declared has nothing to report; the error says when it will."""
    begun = replace(studies["one"], trials=studies["one"].trials[:0])
    with pytest.raises(UserError, match="one: has no planned trial yet; report it once `segsweep status one` counts trials"):
        call({"one": begun}, monkeypatch, "one")
