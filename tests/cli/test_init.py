"""`segsweep init` writes a study file that runs as it is."""

import json
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
from called import call

from segsweep.cli import init

ROOT = Path(__file__).parents[2]
TINY = ("--set", "source=random", "--set", "freeze=none", "--set", "steps=2", "--set", "seeds=1", "--set", "trials_per_cell=1")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder."""
    monkeypatch.chdir(tmp_path)


def run_script(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a study file in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", list(arguments))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(arguments[0], run_name="__main__")
    return int(end.value.code or 0)


def test_the_written_study_can_be_planned(
    ellipses: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that `init` prints next plans a study of that name on that folder; its source is not found, and named."""
    assert call("init", "street", "--target", ellipses) == 0
    written, following = capsys.readouterr().out.splitlines()
    assert written.startswith(f"street.py: written, with the target {ellipses}. ROOT is ")
    command = following.removeprefix("next: python ").split()
    assert command == ["street.py", "--plan", "--data", "ROOT"]
    assert run_script(monkeypatch, *command[:2], "--json", "--device", "cpu") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["study"], plan["declared"]["target"]["name"]) == ("street", f"folder:{ellipses}")
    assert (plan["cells"], plan["trials"], plan["stages"], plan["data_absent"]) == (4, 28, 1, ["coco"])


def test_the_demo_of_the_written_study_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a target, `init` names the line to edit and a command that runs on generated images; `.ci/run` runs it in full."""
    assert call("init", "street") == 0
    written, following = capsys.readouterr().out.splitlines()
    line = int(written.removeprefix("street.py: written. Set the target in line ").removesuffix("."))
    assert "folder:/path/to/dataset" in Path("street.py").read_text().splitlines()[line - 1]
    assert following == "next: python street.py --demo"
    inline = ("--runner", "inline", "--device", "cpu", "--threads", "1")
    assert run_script(monkeypatch, "street.py", "--demo", *inline, *TINY) == 0
    assert "street_demo: target generated_street" in capsys.readouterr().out
    assert (tmp_path / "runs" / "street_demo" / "table.csv").is_file()


def test_no_trace_of_the_template_is_left() -> None:
    """The copy names itself in its study, in its demo and in its commands."""
    text = init.study_text("street", Path("/data/it's here"))
    assert init.TEMPLATE not in text
    assert "/path/to/dataset" not in text
    assert all(part in text for part in ("python street.py --demo", 'name="street"', 'name="street_demo"'))
    compile(text, "street.py", "exec")


def test_a_file_that_exists_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    """An existing file is left unchanged, and the error names it."""
    Path("street.py").write_text("mine")
    assert call("init", "street") == 2
    assert "street.py exists" in capsys.readouterr().err
    assert Path("street.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["street.py"], "without .py"),
        (["a/b"], "letters, digits"),
        (["-x"], "NAME"),
        (["random"], "is a Python module"),
        (["torch"], "is a Python module"),
        (["street", "--target", "nowhere"], "no such folder"),
    ],
)
def test_wrong_arguments_are_rejected(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Names that no study can have or that hide a module, and a target that is not a folder, are errors; no file is written."""
    assert call("init", *arguments) == 2
    assert part in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_the_wheel_holds_the_template() -> None:
    """The only copy of the template lies in sweeps/; the wheel has it where an installed package looks for it."""
    checkout, installed = init.LOCATIONS
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {ROOT / source: ROOT / place for source, place in table.items()} == {checkout: installed}
    assert checkout.is_file()
    assert not installed.exists()
