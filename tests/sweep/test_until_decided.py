"""Studies that add seeds until their questions are decided."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawn_study import Drawn

import segsweep
from segsweep.config import Study, Target
from segsweep.config.narrow import narrow
from segsweep.errors import UserError
from segsweep.records import Records
from segsweep.sweep.check import rehearsal_of
from segsweep.sweep.until_decided import next_look

OPEN = "1 of 1 differences is open"
HOW: dict[str, Any] = {"runner": "inline", "device": "cpu", "threads": 1}
RANDOM, NEAR = "source=random", "source=near"


def drawn(gain: float, of_seed: float, seeds: int = 3) -> Records:
    """Return the records of two cells, of which the second gains `gain`; runs scatter by `of_seed`."""
    means = {RANDOM: 0.5, NEAR: 0.5 + gain}
    return Drawn({"source": ["random", "near"]}, means, seeds=seeds, of_seed=of_seed, study={"looks": [3, 5, 8]}).records()


def looking(seeds: int) -> Study:
    """Return a study at one of its looks at 3, 5 and 8 seeds."""
    return Study("s", Target("pets"), {"source": ["random"]}, seeds=seeds, looks=(3, 5, 8))


@pytest.mark.parametrize(
    ("gain", "of_seed", "seeds", "following", "expected"),
    [
        (0.2, 0.001, 3, None, "the study ends with 3 seeds: every difference is decided"),
        (0.07, 0.02, 3, 5, "with 3 seeds 1 of 1 differences is open, and more seeds would decide 1: next look at 5 seeds"),
        (0.0, 0.02, 3, None, f"the study ends with 3 seeds: {OPEN}, which no number of seeds up to 8 would decide"),
        (0.0, 0.03, 8, None, f"the study ends at its last look, with 8 seeds: {OPEN}"),
    ],
)
def test_a_study_grows_only_while_more_seeds_would_decide(
    gain: float, of_seed: float, seeds: int, following: int | None, expected: str
) -> None:
    """It ends with a decision, at the last look, and where the estimate is so small that its seeds cannot decide."""
    found, line = next_look(looking(seeds), drawn(gain, of_seed, seeds))
    assert (None if found is None else found.seeds) == following
    assert line == expected


def test_unfinished_runs_end_the_looks() -> None:
    """A study whose planned runs have not all ended, such as one at the end of its budget, does not grow."""
    records = drawn(0.07, 0.02)
    status = records.trials["status"].where(records.trials["seed"] != 3, "not_run")
    assert next_look(looking(3), replace(records, trials=records.trials.assign(status=status))) == (None, "")


def test_seeds_until_decided_can_be_declared_in_three_ways() -> None:
    """In the study, by --set, and by --seeds-until-decided; a number of seeds ends it."""
    study = Study("s", Target("pets"), {"source": ["random"]}, seeds="until decided: 8")  # type: ignore[arg-type]
    assert (study.seeds, study.looks) == (3, (3, 5, 8))
    plain = Study("s", Target("pets"), {"source": ["random"]}, seeds=3)
    assert narrow(plain, ["seeds=until decided: 8"]).looks == plain.until_decided(8).looks == study.looks
    assert narrow(study, ["seeds=5"]).looks == ()
    assert replace(study, seeds=5).looks == study.looks


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source_seeds": 3}, "with source_seeds=3 only more models decide"),
        ({"target": Target("pets", protocol="5-fold")}, "compares over folds, not seeds"),
        ({"seeds": "until decided: 3"}, "starts with 3 seeds and allows 3; start with at least 2, and allow more, at most 30"),
    ],
)
def test_studies_that_cannot_grow_are_refused(changes: dict[str, Any], reason: str) -> None:
    """The error names the reason when the study is declared."""
    with pytest.raises(UserError, match=reason):
        Study(**{"name": "s", "target": Target("pets"), "compare": {"source": ["random"]}, "seeds": "until decided", **changes})


@pytest.fixture
def tiny(ellipses: Path, boxes: Path) -> Study:
    """Two cells without tuning, whose few steps leave their difference open for some seeds."""
    fixed = {"architecture": "unet4", "image_px": 32, "epochs": 1, "batch_size": 8}
    compare = {"source": ["random", f"supervised:folder:{boxes}"]}
    return Study("grows", Target(f"folder:{ellipses}"), compare, fixed=fixed, seeds=2).until_decided(4)


def test_a_study_runs_look_by_look(tiny: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each look adds runs to all cells; the records name the looks, and starting again repeats nothing."""
    records = segsweep.run(tiny, out=tmp_path / "runs", **HOW)
    seeds = int(records.study["seeds"])
    assert records.study["looks"] == [2, 3, 4]
    assert seeds in (3, 4)  # two seeds of two cells decide nothing
    assert list(records.trials.groupby("cell").size()) == [seeds, seeds]
    printed = " ".join(capsys.readouterr().err.split())
    assert "looks at 2, 3, 4 seeds, now at 2" in printed
    assert "next look at 3 seeds" in printed
    before = records.trials["started_at"].tolist()
    assert segsweep.run(tiny, out=tmp_path / "runs", **HOW).trials["started_at"].tolist() == before
    assert "no longer belong" not in capsys.readouterr().err
    assert "so that all looks, up to 4 seeds, hold at 95 % together" in str(records.answer)


KILLED = """
import os, signal, sys
import segsweep, segsweep.sweep.run as module
from segsweep.config import Study, Target

boxes, ellipses, out = sys.argv[1:]
module.next_look = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
fixed = {"architecture": "unet4", "image_px": 32, "epochs": 1, "batch_size": 8}
compare = {"source": ["random", f"supervised:folder:{boxes}"]}
study = Study("grows", Target(f"folder:{ellipses}"), compare, fixed=fixed, seeds=2).until_decided(4)
segsweep.run(study, out=out, runner="inline", device="cpu", threads=1)
"""


def test_a_study_that_is_killed_between_looks_goes_on(tiny: Study, tmp_path: Path, boxes: Path, ellipses: Path) -> None:
    """Killed after its first look, the same command ends with the same seeds and runs as one that was not killed."""
    alone = segsweep.run(tiny, out=tmp_path / "alone" / "runs", **HOW)
    killed = subprocess.run([sys.executable, "-c", KILLED, boxes, ellipses, tmp_path / "killed" / "runs"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert int(segsweep.load(tmp_path / "killed" / "runs" / "grows").study["seeds"]) == 2
    again = segsweep.run(tiny, out=tmp_path / "killed" / "runs", **HOW)
    assert again.study["seeds"] == alone.study["seeds"]
    assert sorted(again.trials["trial_id"]) == sorted(alone.trials["trial_id"])


def test_other_looks_are_refused(tiny: Study, tmp_path: Path) -> None:
    """The looks that a study has taken have spent their part of the 5 %; with another largest number they would not fit."""
    segsweep.run(tiny, out=tmp_path / "runs", **HOW)
    refused = r"has begun with looks at 2, 3, 4 seeds, now at 2, 3, 5, 6; .* keep 2 seeds and at most 4"
    with pytest.raises(UserError, match=refused):
        segsweep.run(replace(tiny, seeds=2).until_decided(6), out=tmp_path / "runs", **HOW)


def test_seeds_that_are_added_after_an_answer_are_named(tiny: Study, tmp_path: Path) -> None:
    """A study that grows by hand, after an answer or after looks, says so below its intervals."""
    plain = replace(tiny, looks=(), seeds=2)
    assert "no allowance" not in str(segsweep.run(plain, out=tmp_path / "runs", **HOW).answer)
    grown = segsweep.run(replace(plain, seeds=3), out=tmp_path / "runs", **HOW)
    assert grown.study["looked"] == [2]
    assert "seeds were added after an answer with 2, for which the intervals make no allowance" in str(grown.answer)
    again = segsweep.run(replace(plain, seeds=4), out=tmp_path / "runs", **HOW)
    assert again.study["looked"] == [2, 3]


def test_a_rehearsal_does_not_grow() -> None:
    """It has one seed, which decides nothing, and it must end after it."""
    assert rehearsal_of(looking(3)).looks == ()
