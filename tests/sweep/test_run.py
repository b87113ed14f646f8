"""Whole studies in one process, on small real files."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from contracts.runner import PauseOnce

import segsweep
from segsweep.config import PerCellASHA, Study, Target
from segsweep.errors import UserError
from segsweep.records import Records, load
from segsweep.records.writer import RecordWriter
from segsweep.report.cells import summarise
from segsweep.report.text import table_text
from segsweep.store.contents import SPEEDS
from segsweep.sweep import early_stopping
from segsweep.sweep.driver import Driver
from segsweep.tasks.task import Task

REQUIRED = """
    study trial_id cell phase status error source architecture transfer freeze fraction learning_rate seed epochs seconds device
    trainable_parameters total_parameters val_loss val_iou test_accuracy test_mean_accuracy test_precision test_recall test_f1
    test_iou test_mean_iou test_weighted_iou test_dice predict_seconds schema_version
""".split()  # noqa: SIM905


def run(study: Study, folder: Path, **options: object) -> Records:
    """Run a study with one thread in a folder."""
    return segsweep.run(study, out=folder / "runs", runner="inline", device="cpu", threads=1, **options)


def test_the_records_have_every_promised_column(finished: Path) -> None:
    """The trials table has the documented columns, filled for every finished trial."""
    trials = load(finished / "runs" / "tiny").trials
    assert set(REQUIRED) <= set(trials.columns)
    assert len(trials) == 16
    assert (trials["status"] == "finished").all()
    assert trials["val_iou"].between(0, 1).all()
    confirmed = trials[trials["phase"] == "confirm"]
    assert confirmed[[column for column in REQUIRED if column not in ("error",)]].notna().all().all()
    assert trials.loc[trials["phase"] == "tune", "test_iou"].isna().all()


def test_images_epochs_and_stages_are_complete(finished: Path) -> None:
    """There is one row per test image of each confirmed run, one per epoch of every trial and stage, one per stage."""
    records = load(finished / "runs" / "tiny")
    assert records.images.groupby("trial_id")["image"].nunique().eq(8).all()
    assert records.images["trial_id"].nunique() == 8
    assert records.epochs.groupby("trial_id")["epoch"].agg(list).map(lambda epochs: epochs == [1, 2]).all()
    assert records.epochs["trial_id"].nunique() == 17
    assert list(records.stages["status"]) == ["finished"]


def test_dice_is_the_mean_over_images(finished: Path) -> None:
    """The recorded test Dice is the mean of the per-image Dice."""
    records = load(finished / "runs" / "tiny")
    trials = records.trials.set_index("trial_id")
    for trial, mean in records.images.groupby("trial_id")["dice"].mean().items():
        assert trials.loc[trial, "test_dice"] == pytest.approx(mean)


def test_confusions_give_the_recorded_iou(finished: Path) -> None:
    """Every confirmed run has the confusion matrix of its whole test: IoUs computed from it equal those of its row."""
    records = load(finished / "runs" / "tiny")
    confirmed = records.trials[records.trials["phase"] == "confirm"].set_index("trial_id")
    assert set(records.confusions["trial_id"]) == set(confirmed.index)
    assert (records.confusions["pixels"] > 0).all()
    for trial, counts in records.confusions.groupby("trial_id"):
        pixels = {(row.truth, row.predicted): row.pixels for row in counts.itertuples()}
        assert sum(pixels.values()) == 8 * confirmed.loc[trial, "image_px"] ** 2
        for name in ("background", "figure"):
            either = sum(count for pair, count in pixels.items() if name in pair)
            assert confirmed.loc[trial, f"test_iou_{name}"] == pytest.approx(pixels.get((name, name), 0) / either)
        assert confirmed.loc[trial, "test_iou"] == confirmed.loc[trial, "test_iou_figure"]


def test_the_table_has_one_row_per_cell(finished: Path) -> None:
    """The summary has the study's cells in order; its means are those of the confirmed runs."""
    records = load(finished / "runs" / "tiny")
    summary = summarise(records)
    assert list(summary["cell"]) == records.study["cells"]
    confirmed = records.trials[records.trials["phase"] == "confirm"].groupby("cell")["test_iou"]
    for _, row in summary.iterrows():
        assert row["test_iou"] == pytest.approx(confirmed.mean()[row["cell"]])
        assert row["test_iou_std"] == pytest.approx(confirmed.std(ddof=1)[row["cell"]])
    assert (summary["seeds"] == 2).all()
    text = table_text(records)
    assert sum("2/2" in line for line in text.splitlines()) == 4


def test_a_shared_store_serves_a_second_study(copy_of_finished: Path, tiny_study: Study) -> None:
    """Another study that needs the same source finds it in the store, builds nothing, and records it."""
    second = replace(tiny_study, name="second", compare={**tiny_study.grids[0], "freeze": ("none",)}, trials_per_cell=1, seeds=1)
    found, built = run(second, copy_of_finished).stages, load(copy_of_finished / "runs" / "tiny").stages
    assert (found["status"].tolist(), found["starts"].tolist()) == (["finished"], [0])
    same = ["stage_id", "key", "content_hash", "stage", "model", "settings", "train_images", "val_mean_iou", "best_epoch"]
    pd.testing.assert_frame_equal(found[same], built[same])
    assert len(run(second, copy_of_finished).stages) == 1


def test_the_deterministic_mode_is_recorded_and_ends_with_the_run(finished: Path, tiny_study: Study, tmp_path: Path) -> None:
    """On a CPU it changes no number; the records state it, and torch's switches are restored."""
    random = replace(tiny_study, compare={"source": ["random"], "freeze": ["none"]})
    trials = run(random, tmp_path, deterministic=True).trials.set_index("trial_id")
    assert set(trials["device"]) == {"cpu x1, deterministic"}
    assert not torch.are_deterministic_algorithms_enabled()
    plain = load(finished / "runs" / "tiny").trials.set_index("trial_id").loc[trials.index]
    assert set(plain["device"]) == {"cpu x1"}
    for column in ("train_loss", "val_loss", "val_iou", "test_iou"):
        assert trials[column].to_dict() == pytest.approx(plain[column].to_dict(), rel=0, abs=0, nan_ok=True)


def test_a_study_grows_by_a_seed(copy_of_finished: Path, tiny_study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """A third seed adds four confirmed runs and repeats nothing; without it, they are excluded again, and a line states it."""
    before = load(copy_of_finished / "runs" / "tiny")
    grown = run(replace(tiny_study, seeds=3), copy_of_finished)
    new = set(grown.trials["trial_id"]) - set(before.trials["trial_id"])
    assert len(new) == 4
    assert set(grown.trials.set_index("trial_id").loc[list(new), "seed"]) == {3}
    assert (grown.trials["starts"] == 1).all()
    assert run(tiny_study, copy_of_finished).all_trials["trial_id"].nunique() == 20
    assert "seeds: 3, now 2); 4 of its 20 trials no longer belong to it and remain only in all_trials" in capsys.readouterr().err


def test_a_source_that_fails_skips_its_trials(tiny_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that raises is recorded with its traceback; trials that need it are skipped with the reason; the others finish."""
    import segsweep.stage as stage_module

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(stage_module, "split_source", broken)
    records = run(replace(tiny_study, trials_per_cell=1, seeds=1), tmp_path)
    assert records.stages["error"].str.contains("the disk is on fire").all()
    at_random = records.trials["source"] == "random"
    assert set(records.trials.loc[at_random, "status"]) == {"finished"}
    assert set(records.trials.loc[~at_random, "status"]) == {"skipped", "not_run"}
    assert "disk is on fire" in table_text(records)
    assert list((tmp_path / "runs" / "tiny" / "errors").iterdir())


def test_trials_that_another_rule_stopped_are_rerun(tiny_study: Study, tmp_path: Path) -> None:
    """With the same rule, stopped trials stay stopped; without one, they are rerun in full, even if a start in between was
    killed."""
    study = replace(tiny_study, compare={"source": ["random"]}, trials_per_cell=4, seeds=1, early_stopping=PerCellASHA(1, 2))
    folder = tmp_path / "runs" / "tiny"
    before = run(study, tmp_path).trials.set_index("trial_id")
    stopped = before.index[before["status"] == "stopped"]
    assert len(stopped)
    assert set(before.loc[stopped, "stopped_by"]) == {"PerCellASHA(grace_epochs=1, reduction_factor=2)"}
    assert before.drop(stopped)["stopped_by"].isna().all()
    same = run(study, tmp_path).trials.set_index("trial_id")
    assert same["ended_at"].to_dict() == before["ended_at"].to_dict()
    with RecordWriter(folder) as writer:  # like a start that was killed after its declaration
        writer.declare({**load(folder).study, "early_stopping": None})
    records = run(replace(study, early_stopping=None), tmp_path)
    after = records.trials.set_index("trial_id")
    tuning = after[after["phase"] == "tune"]
    assert set(tuning["status"]) == {"finished"}
    assert tuning["stopped_by"].isna().all()
    assert (after.loc[stopped, "starts"] == 1).all()
    kept = before.index[(before["phase"] == "tune") & (before["status"] == "finished")]
    assert after.loc[kept, "ended_at"].to_dict() == before.loc[kept, "ended_at"].to_dict()
    epochs = records.epochs[records.epochs["trial_id"].isin(tuning.index)].groupby("trial_id")["epoch"].agg(list)
    assert epochs.map(lambda each: each == [1, 2]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": Target("nothing")}, r"dataset: unknown name 'nothing'; .*segsweep datasets"),
        ({"target": Target("pets")}, r"dataset 'pets' is not found.*--data pets=PATH"),
        ({"fixed": {"architecture": "unet-nothing"}}, r"unknown encoder 'nothing'; nearest"),
        (
            {"fixed": {"architecture": "vnet-resnet18"}},
            r"unknown name 'vnet-resnet18'; nearest: .*; all \d+: segsweep models --encoders",
        ),
        ({"fixed": {"architecture": "unet16", "image_px": 50}}, r"image_px=50: unet16 needs a multiple of 16"),
        ({"fixed": {"fraction": 0.01, "image_px": 32}}, r"fraction=0.01: leaves none of the 24 training images"),
        ({"compare": {"source": ["file:/no/such/file.pth"]}}, r"file:/no/such/file.pth: file is missing"),
        ({"compare": {"source": ["supervised:folder:/no/such"]}}, r"folder /no/such is missing"),
    ],
)
def test_mistakes_are_reported_before_anything_is_trained(
    tiny_study: Study, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    """Each mistake is one line with the setting, the value and the allowed values; no trial is recorded."""
    study = replace(tiny_study, **{"compare": {"source": ["random"]}, **changes})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message) as error:
        run(study, tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_a_source_that_is_the_target_is_rejected(tiny_study: Study, tmp_path: Path) -> None:
    """A source stage may not train on the dataset whose test split is read later."""
    study = replace(tiny_study, compare={"source": [f"supervised:{tiny_study.target.name}"]})
    with pytest.raises(UserError, match="is the target's own dataset"):
        run(study, tmp_path)


def test_loading_nothing_is_an_error(tmp_path: Path) -> None:
    """The error names a folder without a study."""
    with pytest.raises(UserError, match="holds no study"):
        load(tmp_path)


def test_the_table_shows_the_study_as_last_declared(copy_of_finished: Path, tiny_study: Study) -> None:
    """After a run with other settings, the table shows only the new trials; the earlier ones stay in the records."""
    study = replace(
        tiny_study, fixed={**tiny_study.fixed, "epochs": 1}, compare={"source": ["random"], "freeze": ["none"]}, seeds=1
    )
    records = run(study, copy_of_finished)
    summary = summarise(records)
    assert list(summary["cell"]) == ["source=random freeze=none"]
    assert list(summary["seeds"]) == [1]
    assert len(records.all_trials) == 16 + 3
    assert len(records.trials) == records.all_trials["planned"].sum() == 3
    assert list(summarise(run(tiny_study, copy_of_finished))["seeds"]) == [2] * 4


def test_a_finished_study_measures_no_speed(
    copy_of_finished: Path, tiny_study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """If nothing is left to run, no speed is measured, and unreadable speeds are neither reported nor removed."""
    speeds = copy_of_finished / "store" / SPEEDS
    speeds.unlink()
    run(tiny_study, copy_of_finished)
    assert not speeds.exists()
    speeds.write_text("{")
    run(tiny_study, copy_of_finished)
    assert speeds.read_text() == "{"
    assert str(speeds) not in capsys.readouterr().err


def test_damage_and_changes_are_reported_once_in_a_fixed_order(
    copy_of_finished: Path, tiny_study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run reports damaged records, lost models, replaced trials and unreadable speeds, in this order."""
    study, store = copy_of_finished / "runs" / "tiny", copy_of_finished / "store"
    kept = load(study).trials.query("phase == 'confirm' and freeze == 'none'")  # removed by the study that runs below
    shutil.rmtree(store / "model" / kept["model_key"].iloc[0])
    (study / "plan.parquet").write_bytes(b"cut")
    (store / SPEEDS).write_text("{")
    run(replace(tiny_study, compare=[{**tiny_study.grids[0], "freeze": ["none"]}]), copy_of_finished)
    lines = capsys.readouterr().err.splitlines()
    marks = ["plan.parquet", "for lack of the model", "was declared differently", f"{SPEEDS}: unreadable", "stages to build"]
    places = [[number for number, line in enumerate(lines) if mark in line] for mark in marks]
    assert [len(each) for each in places] == [1] * len(marks), lines
    assert places == sorted(places)


def test_a_trial_that_was_paused_when_the_run_ended_is_resumed(
    finished: Path, tiny_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while trials are paused loses none of their epochs: the same command resumes them, with the same numbers."""
    monkeypatch.setattr(early_stopping, "RULES", {PerCellASHA: PauseOnce})
    cell = {"source": ["random"], "freeze": ["none"]}
    study, pause = replace(tiny_study, compare=cell, seeds=1, early_stopping=PerCellASHA()), Driver._pause

    def interrupted(driver: Driver, task: Task, epoch: int) -> bool:
        pause(driver, task, epoch)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "_pause", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(study, tmp_path)
    before = load(tmp_path / "runs" / "tiny")
    (paused,) = before.trials.loc[before.trials["status"] == "interrupted", "trial_id"]
    after = run(study, tmp_path)
    trials = after.trials.set_index("trial_id")
    assert (trials["status"] == "finished").all()
    assert trials.loc[paused, "starts"] >= 2
    epochs = after.epochs.set_index("trial_id").loc[paused]
    assert epochs["epoch"].tolist() == [1, 2]
    assert epochs["seconds"].iloc[0] == before.epochs.set_index("trial_id").loc[[paused], "seconds"].iloc[0]
    expected = load(finished / "runs" / "tiny").trials.set_index("trial_id").loc[trials.index]
    pd.testing.assert_frame_equal(trials[["val_iou", "test_iou"]], expected[["val_iou", "test_iou"]], check_exact=True)
