"""Tasks that several workers execute together, through Ray Train."""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import segsweep
from segsweep.config import LogUniform, PerCellASHA, Study
from segsweep.errors import UserError

TOLERANCE = 0.02  # relative, of losses after two epochs; Adam amplifies rounding errors


@pytest.fixture
def short_study(tiny_study: Study, boxes: Path) -> Study:
    """One cell with a source, one tuning trial and one seed."""
    return replace(tiny_study, compare={"source": [f"supervised:folder:{boxes}"], "freeze": ["none"]}, trials_per_cell=1, seeds=1)


def train_processes() -> list[psutil.Process]:
    """Return the processes that Ray Train runs for a group."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"]
        if command and command[0].startswith("ray::RayTrainWorker"):
            found.append(process)
    return found


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_workers_per_stage_and_per_trial(short_study: Study, tmp_path: Path) -> None:
    """A stage and trials that two workers share give the inline runner's numbers within the tolerance, in the same records; no
    process of the group is left."""
    fixed = {**short_study.fixed, "source_learning_rate": 1e-4}
    study = replace(
        short_study, tune={"learning_rate": LogUniform(1e-5, 1e-4)}, fixed=fixed
    )  # with a higher one, rounding errors grow fast
    options = {"workers_per_stage": 2, "workers_per_trial": 2, "deterministic": True}
    records = segsweep.run(study, out=tmp_path / "runs", threads=1, **options)
    wanted = segsweep.run(study, out=tmp_path / "inline" / "runs", threads=1, runner="inline")
    assert (records.trials["status"] == "finished").all()
    assert {*records.trials["device"], *records.stages["device"]} == {"cpu x1, deterministic"}
    assert list(records.stages["val_loss"]) == pytest.approx(list(wanted.stages["val_loss"]), rel=TOLERANCE)
    for column in ("train_loss", "val_loss", "test_loss", "val_accuracy", "test_accuracy"):
        found, same = (each.trials.set_index("phase")[column].dropna() for each in (records, wanted))
        assert found.to_dict() == pytest.approx(same.to_dict(), rel=TOLERANCE)
    assert records.images["image"].nunique() == 8
    assert (records.epochs.groupby("trial_id")["epoch"].agg(list).map(lambda epochs: epochs == [1, 2])).all()
    deadline = time.monotonic() + 10
    while train_processes():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.usefixtures("cluster")
@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_killed_process_of_a_group_is_replaced(short_study: Study, tmp_path: Path) -> None:
    """After kill -9 of one of two processes that train a stage, the group restarts from the last epoch."""
    study = replace(short_study, fixed={**short_study.fixed, "source_epochs": 16})

    def kill_one() -> None:
        live = tmp_path / "runs" / "tiny" / "live"
        while not any(path.read_text().count('"kind": "epoch"') >= 3 for path in live.glob("*.jsonl")):
            time.sleep(0.02)
        newest = max(train_processes(), key=lambda process: process.create_time())  # processes of earlier tests may linger
        os.kill(newest.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    records = segsweep.run(study, out=tmp_path / "runs", threads=1, workers_per_stage=2)
    thread.join()
    assert list(records.stages["starts"]) == [2]
    assert (records.trials["status"] == "finished").all()
    stage = records.epochs[records.epochs["phase"] == "stage"]
    assert list(stage["epoch"]) == list(range(1, 17))


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_early_stopping_ends_a_group(short_study: Study, tmp_path: Path) -> None:
    """Trials of two workers that the rule stops end early; the same processes execute the next trial."""
    study = replace(
        short_study,
        compare={"source": ["random"]},
        fixed={**short_study.fixed, "epochs": 3},
        trials_per_cell=4,
        early_stopping=PerCellASHA(1, 2),
    )
    trials = segsweep.run(study, out=tmp_path / "runs", threads=1, workers_per_stage=2, workers_per_trial=2).trials
    assert set(trials["status"]) == {"finished", "stopped"}
    assert (trials["starts"] == 1).all()


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_error_in_a_group_is_a_record(short_study: Study, tmp_path: Path) -> None:
    """A trial of two workers whose loss diverges fails with its reason; the others finish in another group."""
    study = replace(
        short_study,
        compare={"learning_rate": [99.0, 1e-3]},
        tune={},
        fixed={**short_study.fixed, "optimizer": "adamw", "weight_decay": 1e3, "epochs": 4},
    )
    trials = segsweep.run(study, out=tmp_path / "runs", threads=1, workers_per_trial=2).trials
    assert dict(zip(trials["learning_rate"], trials["status"], strict=True)) == {99.0: "failed", 1e-3: "finished"}
    assert trials.loc[trials["status"] == "failed", "error"].str.contains("loss is").all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers_per_trial": 9}, "--workers-per-trial 9: batch_size=8 of cell .* leaves workers without images"),
        ({"workers_per_stage": 9}, "--workers-per-stage 9: source_batch_size=8 of cell .* leaves workers without images"),
        ({"runner": "inline", "workers_per_trial": 2}, "--workers-per-trial 2: the inline runner has one worker"),
        ({"runner": "inline", "gpus_per_trial": 0.5}, "--gpus-per-trial 0.5: the inline runner has one worker"),
        ({"runner": "slurm"}, "--runner: unknown name 'slurm'; known: ray, inline"),
        ({"threds": 2}, r"run: unknown name 'threds'; nearest: threads; all [0-9]+: help\(segsweep.run\)"),
    ],
)
def test_impossible_options_are_reported_before_anything_runs(short_study: Study, tmp_path: Path, options, message) -> None:
    """Each is a one-line error, and no record is made."""
    with pytest.raises(UserError, match=message):
        segsweep.run(short_study, out=tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()
