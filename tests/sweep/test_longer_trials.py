"""Longer trials continue the checkpoints of shorter ones, and give the numbers of a run from the start."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import segsweep
from segsweep.config import LogUniform, Study, Target
from segsweep.records import Records

HOW: dict[str, Any] = {"runner": "inline", "device": "cpu", "threads": 1}
MEASURES = ["trial_id", "epoch", "train_loss", "val_loss", "val_iou", "steps"]
LENGTHS = [({"epochs": 1}, {"epochs": 3}), ({"steps": 4, "validations": 2}, {"steps": 10, "validations": 5})]


@pytest.fixture
def study(ellipses: Path) -> Study:
    """One cell with one tuning trial and one confirmed run, which keeps a clip."""
    fixed = {"architecture": "unet4", "image_px": 32, "batch_size": 8, "clip_images": 2, "optimizer": "adam"}
    tune = {"learning_rate": LogUniform(1e-3, 1e-2)}
    return Study(
        "longer", Target(f"folder:{ellipses}"), {"source": ["random"]}, tune=tune, fixed=fixed, trials_per_cell=1, seeds=1
    )


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that receives an entry per optimiser step from now on."""
    from segsweep.training.step import Stepper

    step, taken = Stepper.step, list[int]()

    def counted(*arguments: Any) -> Any:
        taken.append(1)
        return step(*arguments)

    monkeypatch.setattr(Stepper, "step", counted)
    return taken


def with_fixed(study: Study, **settings: Any) -> Study:
    """Return a study with other fixed settings."""
    return replace(study, fixed={**study.fixed, **settings})


def curves(records: Records) -> list[tuple[Any, ...]]:
    """Return all results of a study's trials."""
    rows = records.epochs[records.epochs["phase"] != "stage"].sort_values(["trial_id", "epoch"])
    return list(rows[MEASURES].itertuples(index=False, name=None))


def confirmed(records: Records) -> list[tuple[Any, ...]]:
    """Return the results of a study's confirmed runs."""
    rows = records.trials[records.trials["phase"] == "confirm"]
    rows = rows[["trial_id", "test_iou", "test_loss", "model_hash", "epochs_run", "best_epoch"]]
    return list(rows.itertuples(index=False, name=None))


@pytest.mark.parametrize(("short", "long"), LENGTHS)
def test_a_longer_study_takes_only_the_missing_steps(
    study: Study, steps: list[int], tmp_path: Path, short: dict[str, int], long: dict[str, int]
) -> None:
    """With kept checkpoints it takes the steps that are missing, and all its numbers are those of a study that starts anew."""
    alone = segsweep.run(with_fixed(study, **long), out=tmp_path / "alone" / "runs", **HOW)
    all_steps = len(steps)
    steps.clear()
    segsweep.run(with_fixed(study, **short), out=tmp_path / "grown" / "runs", keep_checkpoints=True, **HOW)
    first_steps = len(steps)
    steps.clear()
    grown = segsweep.run(with_fixed(study, **long), out=tmp_path / "grown" / "runs", **HOW)
    assert 0 < first_steps < all_steps
    assert len(steps) == all_steps - first_steps
    assert curves(grown) == curves(alone)
    assert confirmed(grown) == confirmed(alone)
    assert grown.trials["continued_from"].notna().all()
    assert alone.trials["continued_from"].isna().all()


def test_a_fork_continues_the_trials_of_its_origin(study: Study, steps: list[int], tmp_path: Path) -> None:
    """A variant with more epochs starts from the checkpoints that its origin kept."""
    segsweep.run(with_fixed(study, epochs=2), out=tmp_path / "runs", keep_checkpoints=True, **HOW)
    before = len(steps)
    steps.clear()
    forked = segsweep.run(with_fixed(study, epochs=3), out=tmp_path / "runs", fork="variant", **HOW)
    assert len(steps) == before / 2
    assert forked.trials["continued_from"].notna().all()


@pytest.mark.parametrize(
    ("change", "keep", "line"),
    [
        ({}, True, "trials that continue from the last epoch of a shorter one: 1"),
        ({"schedule": "cosine"}, True, "their learning rate depends on their length (schedule=cosine, warmup=0)"),
        ({"warmup": 0.5}, True, "their learning rate depends on their length (schedule=constant, warmup=0.5)"),
        ({}, False, "it kept no checkpoint (--keep-checkpoints)"),
    ],
)
def test_what_cannot_continue_starts_anew_and_is_named_before(
    study: Study,
    steps: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    keep: bool,
    line: str,
) -> None:
    """A schedule that depends on the length, and a missing checkpoint, make a longer trial new; a line says so at the start."""
    segsweep.run(with_fixed(study, epochs=1, **change), out=tmp_path / "runs", keep_checkpoints=keep, **HOW)
    each = len(steps)
    steps.clear()
    capsys.readouterr()
    grown = segsweep.run(with_fixed(study, epochs=2, **change), out=tmp_path / "runs", **HOW)
    continued = line.endswith(": 1")
    assert len(steps) == (each if continued else 2 * each)
    assert grown.trials["continued_from"].notna().all() == continued
    assert line in " ".join(capsys.readouterr().err.split())


def test_checkpoints_are_kept_only_when_asked_for(study: Study, tmp_path: Path) -> None:
    """Without the option the store holds no checkpoint after a run; with it, one per finished trial."""
    segsweep.run(with_fixed(study, epochs=1), out=tmp_path / "without" / "runs", **HOW)
    assert not list((tmp_path / "without" / "store" / "work").glob("*"))
    segsweep.run(with_fixed(study, epochs=1), out=tmp_path / "with" / "runs", keep_checkpoints=True, **HOW)
    assert len(list((tmp_path / "with" / "store" / "work").glob("*"))) == 2
