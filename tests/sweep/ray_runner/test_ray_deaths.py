"""Workers, drivers and builders that are killed with -9, and Ctrl-C: no finished work is lost or repeated."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
from study_scripts import EPOCHS, SOURCE_EPOCHS, Script, assert_whole, kill_workers, workers

from segsweep.records import load


def await_no_workers(before: list[psutil.Process], seconds: float) -> None:
    """Wait until no workers are left except those that existed before."""
    deadline = time.monotonic() + seconds
    while [process for process in workers() if process not in before]:
        assert time.monotonic() < deadline, "workers are left behind"
        time.sleep(0.05)


@pytest.mark.timeout(500)
def test_killed_workers_are_replaced(script: Callable[..., Script], undisturbed: pd.DataFrame) -> None:
    """After kill -9 of the builder of a stage and of a trial's worker, both resume from their last epoch in other processes."""
    study = script()
    driver = study.start("--max-concurrent", "2")
    study.await_epochs(1, driver)
    study.await_epochs(2, driver, "stages")
    kill_workers(2)
    _, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    records = load(study.records)
    assert_whole(records, undisturbed)
    assert list(records.stages["starts"]) == [2]
    assert (records.trials["starts"] > 1).sum() <= 1  # none if the kill came between two trials


@pytest.mark.timeout(500)
def test_an_interrupted_and_then_killed_study_continues(script: Callable[..., Script], undisturbed: pd.DataFrame) -> None:
    """Ctrl-C ends within seconds with code 130; kill -9 of the driver ends its workers; the same command finishes the study.

    Records are complete after both, no finished trial starts again, and the numbers are those of an undisturbed study.
    """
    study, before = script(), workers()
    command = ("--max-concurrent", "1")
    driver = study.start(*command)
    study.await_epochs(2, driver, "stages")
    assert [process for process in workers() if process not in before]
    pressed = time.monotonic()
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=30)
    assert time.monotonic() - pressed < 10
    assert driver.returncode == 130
    assert f"To continue: python tiny.py --threads 1 {' '.join(command)}" in errors
    assert "Traceback" not in errors
    await_no_workers(before, seconds=5)
    records = load(study.records)
    assert list(records.stages["status"]) == ["interrupted"]
    assert set(records.trials["status"]) <= {"finished", "not_run"}

    driver = study.start(*command)
    study.await_epochs(EPOCHS + 1, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    await_no_workers(before, seconds=20)
    done = load(study.records).trials.set_index("trial_id")
    done = done[done["status"] == "finished"]
    assert len(done) >= 1

    study.run(*command)
    records = load(study.records)
    assert_whole(records, undisturbed)
    assert list(records.stages["starts"]) == [2]
    assert (records.trials.set_index("trial_id").loc[done.index, "ended_at"] == done["ended_at"]).all()


@pytest.mark.timeout(500)
def test_two_drivers_share_one_stage(script: Callable[..., Script], undisturbed: pd.DataFrame, tmp_path: Path) -> None:
    """Two studies at once on one cluster and one store train their common source once, and both finish."""
    studies = [script("one"), script("other")]
    drivers = [study.start("--max-concurrent", "1") for study in studies]
    for driver in drivers:
        _, errors = driver.communicate(timeout=300)
        assert driver.returncode == 0, errors
    records = [load(study.records) for study in studies]
    assert sum((each.epochs["phase"] == "stage").sum() for each in records) == SOURCE_EPOCHS
    assert len(list((tmp_path / "store" / "weights").iterdir())) == 1
    for each in records:
        assert_whole(each, undisturbed)
