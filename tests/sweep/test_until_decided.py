"""Studies that add seeds until their questions are decided."""

import os
import signal
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
from segsweep.sweep.until_decided import next_look

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
    ("gain", "of_seed", "seeds", "following"),
    [
        (0.2, 0.001, 3, None),  # decided
        (0.07, 0.02, 3, 5),  # open, and a few seeds more would decide it
        (0.0, 0.02, 3, None),  # open, and no number of seeds would decide it
        (0.0, 0.03, 8, None),  # the last look
    ],
)
def test_a_study_grows_only_while_more_seeds_would_decide(gain: float, of_seed: float, seeds: int, following: int | None) -> None:
    """It ends with a decision, at the last look, and where the estimate is so small that its seeds cannot decide."""
    found = next_look(looking(seeds), drawn(gain, of_seed, seeds))
    assert (None if found is None else found[0].seeds) == following
    if found is not None:
        assert found[1] == "with 3 seeds 1 of 1 differences is open, and more seeds would decide it: next look at 5 seeds"


def test_unfinished_runs_end_the_looks() -> None:
    """A study whose planned runs have not all ended, such as one at the end of its budget, does not grow."""
    records = drawn(0.07, 0.02)
    status = records.trials["status"].where(records.trials["seed"] != 3, "not_run")
    assert next_look(looking(3), replace(records, trials=records.trials.assign(status=status))) is None


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
        ({"seeds": "until decided: 3"}, "from 3 to 3 seeds; start with at least 2, and allow more"),
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
    assert "all looks of the study, up to 4 seeds, hold at 95 % together" in str(records.answer)


def test_a_study_that_is_killed_between_looks_goes_on(tiny: Study, tmp_path: Path) -> None:
    """Killed after its first look, the same command ends with the same seeds and runs as one that was not killed."""
    alone = segsweep.run(tiny, out=tmp_path / "alone" / "runs", **HOW)
    if (child := os.fork()) == 0:
        import segsweep.sweep.run as module

        module.next_look = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        segsweep.run(tiny, out=tmp_path / "killed" / "runs", **HOW)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert int(segsweep.load(tmp_path / "killed" / "runs" / "grows").study["seeds"]) == 2
    again = segsweep.run(tiny, out=tmp_path / "killed" / "runs", **HOW)
    assert again.study["seeds"] == alone.study["seeds"]
    assert sorted(again.trials["trial_id"]) == sorted(alone.trials["trial_id"])
