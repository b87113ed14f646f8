"""A study's command line that turns it into a search."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segsweep.cli.study_script import main
from segsweep.config import Choice, Search, Study

OPTIONS = ("--runner", "inline", "--device", "cpu", "--threads", "1")


def call(study: Study, *arguments: str) -> int:
    """Run a study's command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as end:
        main(study, arguments=[*OPTIONS, *arguments])
    return int(end.value.code or 0)


def plan_of(study: Study, out: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Return the plan of a command as JSON."""
    assert call(study, "--plan", "--json", "--out", str(out / "runs"), *arguments) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_search_turns_a_grid_into_a_search_of_its_own_name(
    tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan counts the trials of the search and of the confirmed cells, and predicts a time; the grid's folder is not used."""
    plan = plan_of(tiny_study, tmp_path, capsys, "--search", "10", "--confirm", "2", "--sampler", "gp")
    assert plan["study"] == "tiny_search"
    assert (plan["cells"], plan["tuning_trials"], plan["confirmation_trials"]) == (4, 10, 2 * 2)
    assert plan["declared"]["search"] == {"trials": 10, "sampler": "gp", "confirm": 2}
    assert plan["seconds"] > 0
    assert "search" not in plan_of(tiny_study, tmp_path, capsys)["declared"]


def test_options_change_a_declared_search(tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A study that is a search keeps its name, and the options replace its values."""
    study = replace(tiny_study, search=Search(trials=50, confirm=1))
    plan = plan_of(study, tmp_path, capsys, "--search", "10", "--set", "freeze=none")
    assert (plan["study"], plan["cells"], plan["tuning_trials"], plan["confirmation_trials"]) == ("tiny", 2, 10, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--confirm", "2"], "--confirm: this study is no search; add --search TRIALS"),
        (["--search", "0"], "Search trials=0: must be a whole number >= 1"),
        (["--search", "9", "--sampler", "best"], "invalid choice: 'best'"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """The exit code is 2, and the line names the option or the value."""
    assert call(tiny_study, "--plan", "--out", str(tmp_path / "runs"), *arguments) == 2
    errors = " ".join(capsys.readouterr().err.split())
    assert message in errors
    assert "Traceback" not in errors


def test_listed_values_that_contradict_each_other_are_refused_before_a_search(
    tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a grid, a search refuses a combination that no trial could run, even if the sampler might never suggest it."""
    fixed = {name: value for name, value in tiny_study.fixed.items() if name != "epochs"}
    tune = {"validations": Choice(2, 30)}
    study = replace(tiny_study, compare={"steps": [20, 50]}, fixed=fixed, tune=tune, trials_per_cell=None)
    lines = []
    for arguments in ([], ["--search", "3"]):
        assert call(study, "--plan", "--out", str(tmp_path / "runs"), *arguments) == 2
        lines.append(next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error")))
    assert lines[0] == lines[1] == "error: validations=30: must be at most steps=20"
