"""A search that really runs: its records, its end, and its continuation after `kill -9`."""

import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from forked_commands import Forks
from study_copy import copy_of_study

import segsweep
from segsweep.config import Search, Study
from segsweep.records import Records, load
from segsweep.report.status import status_of

SCRIPT = """
from segsweep import LogUniform, Search, Study, Target, main

study = Study(
    name="tiny",
    target=Target("folder:{target}"),
    compare={{"source": ["random", "supervised:folder:{source}"], "freeze": ["none", "encoder"]}},
    tune={{"learning_rate": LogUniform(1e-4, 1e-2)}},
    fixed={{"architecture": "unet4", "image_px": 32, "epochs": 3, "batch_size": 8}},
    search=Search(trials=12, confirm=1),
    seeds=1,
)

if __name__ == "__main__":
    main(study)
"""
OPTIONS = ("--runner", "inline", "--device", "cpu", "--threads", "1")


def by_number(records: Records) -> dict[int, str]:
    """Return the ids of the trials of a search by the numbers of their suggestions."""
    trials = records.trials[records.trials["phase"] == "search"]
    return dict(zip(trials["point"].tolist(), trials["trial_id"], strict=True))


def test_the_records_of_a_search_hold_its_trials_and_its_confirmed_runs(searched: Path) -> None:
    """Every trial of the search belongs to the study and has its number; two cells are confirmed on two seeds each."""
    records = load(searched / "runs" / "tiny")
    trials = records.trials
    assert trials["planned"].all()
    assert set(by_number(records)) == set(range(8))
    assert trials[trials["phase"] == "search"]["test_iou"].isna().all()
    confirmed = trials[trials["phase"] == "confirm"]
    assert confirmed.groupby("cell")["seed"].agg(list).tolist() == [[1, 2], [1, 2]]
    assert confirmed["test_iou"].notna().all()
    assert set(records.choices) == set(confirmed["cell"])
    assert len(confirmed) + 8 == len(trials) == len(records.all_trials)


def test_a_finished_search_runs_nothing_again_and_grows(searched: Path, tiny_study: Study, tmp_path: Path) -> None:
    """The same search starts no trial; one of ten trials adds two, and its sampler knows the eight."""
    folder = copy_of_study(searched, tmp_path / "copy")
    run = {"out": folder / "runs", "runner": "inline", "device": "cpu", "threads": 1}
    same = segsweep.run(replace(tiny_study, search=Search(trials=8, confirm=2)), **run)
    assert (same.trials["starts"] == 1).all()
    more = segsweep.run(replace(tiny_study, search=Search(trials=10, confirm=2)), **run)
    assert set(by_number(more)) == set(range(10))
    assert {number: by_number(more)[number] for number in range(8)} == by_number(same)
    assert (more.all_trials["starts"] == 1).all()


def epochs_in(folder: Path) -> int:
    """Return the number of epochs in the lines of a study's records."""
    return sum(text.count('"kind": "epoch"') for path in folder.glob("live/*.jsonl") if (text := path.read_text()))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_search_that_is_killed_four_times_suggests_the_same_trials(
    forks: Forks, tmp_path: Path, ellipses: Path, boxes: Path
) -> None:
    """After each `kill -9` the same command continues; at the end the trials and their scores equal those of one start."""
    script = tmp_path / "study.py"
    script.write_text(SCRIPT.format(target=ellipses, source=boxes))
    for epochs in (4, 13, 22, 35):
        process, deadline = forks.start(script, *OPTIONS), time.monotonic() + 60
        while epochs_in(tmp_path / "runs" / "tiny") < epochs and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL
        assert status_of(load(tmp_path / "runs" / "tiny")).trials.planned == 12 + 1  # suggested or not, and the confirmed run
    found = []
    for out in ("runs", "whole/runs"):
        process = forks.start(script, *OPTIONS, "--out", out)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        found.append(load(tmp_path / out / "tiny"))
    killed, whole = found
    assert by_number(killed) == by_number(whole)
    assert killed.trials["starts"].max() > 1
    scores = [each.trials.set_index("trial_id")["val_loss"].sort_index() for each in found]
    assert (scores[0] == scores[1]).all()
