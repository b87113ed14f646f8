"""The command line of a study script."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked_commands import Command, Forks
from text_lines import unwrapped

from segsweep.cli.study_script import main
from segsweep.config import Study
from segsweep.records import load

SCRIPT = """
from segsweep import LogUniform, Study, Target, main

study = Study(
    name="tiny",
    target=Target("folder:{target}"),
    compare={{"source": ["random", "supervised:folder:{source}"], "freeze": ["none", "encoder"]}},
    tune={{"learning_rate": LogUniform(1e-4, 1e-2)}},
    fixed={{"architecture": "unet4", "image_px": 32, "epochs": 3, "batch_size": 8}},
    trials_per_cell=2,
    seeds=1,
)

if __name__ == "__main__":
    main(study)
"""


@pytest.fixture
def script(tmp_path: Path, ellipses: Path, boxes: Path) -> Path:
    """A study script in its own folder."""
    path = tmp_path / "study.py"
    path.write_text(SCRIPT.format(target=ellipses, source=boxes))
    return path


OPTIONS = ("--runner", "inline", "--device", "cpu", "--threads", "1")


def call(study: Study, *arguments: str, **options: object) -> int:
    """Run a study's command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as end:
        main(study, arguments=[*OPTIONS, *arguments], **options)  # type: ignore[arg-type]
    return int(end.value.code or 0)


def live_epochs(folder: Path) -> int:
    """Return the number of epochs in the lines of a study's records."""
    return sum(text.count('"kind": "epoch"') for path in folder.glob("live/*.jsonl") if (text := path.read_text()))


def kill_at(forks: Forks, script: Path, epochs: int, how: signal.Signals) -> Command:
    """Start a script, send it a signal once `epochs` epochs are recorded, and return the process."""
    process = forks.start(script, *OPTIONS)
    deadline = time.monotonic() + 50
    while live_epochs(script.parent / "runs" / "tiny") < epochs and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    return process


def complete(forks: Forks, script: Path, *arguments: str) -> str:
    """Run a script to its end, and return its output."""
    process = forks.start(script, *OPTIONS, *arguments)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    return output


def last_table(output: str) -> list[str]:
    """Return the lines of the table, without the line with the paths."""
    return [line for line in output.splitlines() if line and not line.startswith("Results: ")]


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_repeated_kills_end_in_the_same_table(forks: Forks, script: Path, tmp_path: Path) -> None:
    """Killed in the stage, in tuning and in confirmation, the same command continues: no finished work starts twice, and the
    table equals that of an uninterrupted run."""
    for epochs in (2, 8, 25):
        killed = kill_at(forks, script, epochs, signal.SIGKILL)
        killed.communicate(timeout=30)
        assert killed.returncode == -signal.SIGKILL
    continued = complete(forks, script)
    records = load(tmp_path / "runs" / "tiny")
    assert (records.trials["status"] == "finished").all()
    assert (
        records.trials["starts"].sum() + records.stages["starts"].sum() <= 13 + 3
    )  # one trial or stage is resumed after each kill
    epochs_of = records.epochs.groupby("trial_id")["epoch"].agg(list)
    assert epochs_of.map(lambda found: found == [1, 2, 3]).all()
    whole = complete(forks, script, "--out", "whole/runs")
    assert last_table(continued) == last_table(whole)
    again = load(tmp_path / "whole" / "runs" / "tiny").trials.set_index("trial_id").sort_index()
    assert (again["val_loss"] == records.trials.set_index("trial_id").sort_index()["val_loss"]).all()


@pytest.mark.timeout(90)
def test_ctrl_c_prints_how_to_continue(forks: Forks, script: Path, tmp_path: Path) -> None:
    """Ctrl-C ends within seconds with exit code 130 and one line; running work is recorded as interrupted."""
    process = kill_at(forks, script, 5, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "To continue: python study.py --runner inline --device cpu --threads 1" in errors
    assert "Traceback" not in errors
    trials = load(tmp_path / "runs" / "tiny").trials
    assert set(trials["status"]) <= {"finished", "interrupted", "not_run"}
    assert (trials["status"] == "interrupted").sum() <= 1


@pytest.mark.timeout(90)
def test_a_second_driver_is_rejected(forks: Forks, script: Path) -> None:
    """While a study runs, the same command elsewhere is one line that names the process that holds it."""
    first = kill_at(forks, script, 3, signal.SIGSTOP)
    second = forks.start(script, *OPTIONS)
    _, errors = second.communicate(timeout=60)
    first.kill()
    first.communicate()
    assert second.returncode == 2
    assert str(first.pid) in errors
    assert "is being written by another run" in errors


def test_the_plan_counts_cells_trials_and_stages(tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--plan --json` prints one JSON object with the numbers of cells, trials and stages, and runs nothing."""
    assert call(tiny_study, "--plan", "--json", "--out", str(tmp_path / "runs")) == 0
    plan = json.loads(capsys.readouterr().out)
    assert {key: plan[key] for key in ("cells", "trials", "stages", "stages_in_store")} == {
        "cells": 4,
        "trials": 16,
        "stages": 1,
        "stages_in_store": 0,
    }
    assert not (tmp_path / "runs").exists()


def test_a_plan_works_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan needs no data: missing datasets are named, and the numbers are complete."""
    from segsweep.config import Target

    study = Study(name="early", target=Target("pets"), compare={"source": ["random", "supervised:coco"]}, tune={}, seeds=2)
    assert call(study, "--plan", "--json", "--out", str(tmp_path / "runs")) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["cells"], plan["trials"], plan["stages"], plan["data_absent"]) == (2, 4, 1, ["coco", "pets"])


def test_check_rehearses_every_cell_and_keeps_nothing(
    tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rehearsal runs every cell for a few steps, and leaves neither records nor weights."""
    assert call(tiny_study, "--check", "--out", str(tmp_path / "runs")) == 0
    assert "4 of 4 cells pass" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "store" / "weights").exists()


def test_check_names_the_broken_cell(
    tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that cannot run is named with its reason, and the exit code is 1."""
    import segsweep.trial as trial_module

    def broken(_: object, policy: str, *_more: object, **_named: object) -> None:
        if policy == "encoder":
            raise ValueError("cannot be frozen")

    monkeypatch.setattr(trial_module, "freeze", broken)
    assert call(tiny_study, "--check", "--set", "source=random", "--out", str(tmp_path / "runs")) == 1
    output = capsys.readouterr().out
    assert "FAILED source=random freeze=encoder: ValueError: cannot be frozen" in output
    assert "1 of 2 cells pass" in output


def test_a_cell_that_could_choose_nothing_ends_with_its_reason(
    tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If all tuning trials of a cell fail, the exit code is 1, and the table has the first error."""
    diverges = ["--set", "source=random", "--set", "freeze=none", "--set", "learning_rate=98,99", "--set", "epochs=4"]
    diverges += ["--set", "optimizer=adamw", "--set", "weight_decay=1e6", "--out", str(tmp_path / "runs")]
    assert call(tiny_study, *diverges) == 1
    output = capsys.readouterr()
    printed = unwrapped(output.out)
    assert "no setting could be chosen: 2 of 2 tuning trials failed; the first: " in printed
    assert "at learning_rate=98" in printed
    assert "1 cell has no result; the reasons are listed above" in output.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set", "fractoin=0.5"],
            "unknown name 'fractoin'; nearest: fraction",
        ),
        (["--set", "freeze=encodr"], "freeze='encodr': allowed are 'none', 'encoder', 'encoder:K'"),
        (["--set", "fraction=1.5"], "fraction='1.5': input should be less than or equal to 1"),
        (["--set", "seeds=0"], "seeds=0: must be a whole number >= 1"),
        (["--set", "learning_rate"], "must have the form NAME=VALUE"),
        (["--data", "/no/such/folder"], "folder /no/such/folder is missing"),
        (["--device", "cuda:9"], "torch sees"),
        (["--threads", "99"], "allowed are 1.."),
        (["--json"], "only allowed with --plan"),
        (["--plan", "--check"], "--plan, --check and --fetch exclude each other; give only one"),
    ],
)
def test_mistakes_at_the_command_line_are_one_line(
    tiny_study: Study, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """A wrong name or value ends with exit code 2 and one line that lists what exists."""
    assert call(tiny_study, *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    errors = "\n".join(line for line in lines if "starting (importing" not in line)  # reported before torch is imported
    assert message in errors
    assert errors.startswith("error: ")
    assert "\n" not in errors


def test_presets_and_sets_narrow_the_study(tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A preset is a list of `--set` texts; those of the command line come after it."""
    presets = {"laptop": ["seeds=1", "freeze=none"]}
    for arguments, expected in ((["--preset", "laptop"], (2, 6)), (["--preset", "laptop", "--set", "seeds=3"], (2, 10))):
        assert call(tiny_study, "--plan", "--json", "--out", str(tmp_path / "runs"), *arguments, presets=presets) == 0
        plan = json.loads(capsys.readouterr().out)
        assert (plan["cells"], plan["trials"]) == expected


def test_listed_values_of_the_command_are_all_tried(
    tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values listed by `--set` replace a count of a preset or the study, but not one of the same command; the plan states it."""
    presets = {"laptop": ["seeds=1", "freeze=none", "trials_per_cell=1"]}
    listed = ["--preset", "laptop", "--set", "learning_rate=1e-4,1e-3,1e-2"]
    fewer = "trials_per_cell=2: only 2 of the 3 combinations of the listed values of learning_rate are tried"
    for arguments, each, remark in ((listed, 3, ""), (["--set", "trials_per_cell=2", *listed], 2, fewer)):
        plan = [*arguments, "--plan", "--out", str(tmp_path / "runs")]
        assert call(tiny_study, *plan, presets=presets) == 0
        assert remark in capsys.readouterr().out
        assert call(tiny_study, *plan, "--json", presets=presets) == 0
        assert json.loads(capsys.readouterr().out)["tuning_trials"] == 2 * each


def test_help_has_an_example(tiny_study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` names every option and gives an example."""
    assert call(tiny_study, "--help") == 0
    text = capsys.readouterr().out
    assert "example: python" in text
    for option in ("--data", "--set", "--plan", "--json", "--check", "--out", "--store", "--runner", "--retry-failed"):
        assert option in text
    for option in ("--budget-hours", "--deadline"):
        assert option in text


def test_the_main_job_is_declared_as_the_readme_says() -> None:
    """`sweeps/transfer_grid.py --plan --json` names 36 cells, 396 trials, and one stage per source, architecture and rate."""
    script = Path(__file__).parents[2] / "sweeps" / "transfer_grid.py"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    output = subprocess.run(
        [sys.executable, str(script), "--plan", "--json"], capture_output=True, text=True, check=True, env=environment
    ).stdout
    plan = json.loads(output)
    assert (plan["cells"], plan["trials"], plan["stages"], plan["stages_in_store"]) == (36, 36 * 11, 4 * 3, 0)
