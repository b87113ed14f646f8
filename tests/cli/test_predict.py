"""`segsweep predict`: its options, messages and exit codes."""

import json
from pathlib import Path

import pandas as pd
import pytest
from called import call as command
from photos import write_photos

from segsweep.records import load
from segsweep.records.parts import forget_choices, read_index


def call(*arguments: object) -> int:
    """Return the exit code of a command on the CPU."""
    return command(*arguments, "--device", "cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of images of several formats."""
    return write_photos(tmp_path / "photos")


@pytest.fixture
def study(finished: Path) -> Path:
    """The folder of the finished tiny study."""
    return finished / "runs" / "tiny"


def confirmed(study: Path) -> pd.DataFrame:
    """Return the confirmed runs of a study, best first."""
    trials = load(study).trials
    return trials[trials["phase"] == "confirm"].sort_values("val_iou", ascending=False, kind="stable")


def test_an_unreadable_image_does_not_stop_the_rest(
    study: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken file is named, the others are predicted, and the exit code is 1."""
    (photos / "broken.jpg").write_bytes((photos / "turned.JPG").read_bytes()[:300])
    assert call("predict", study, "--images", photos, "--out", tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert f"error: {photos / 'broken.jpg'}: image cannot be read" in printed.err
    assert "1 of 4 images could not be read: broken.jpg" in printed.err
    assert "3 images, predicted by trial" in printed.out
    assert "predicting: 4/4" in printed.err
    card = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["image"] for row in card["failed"]] == ["broken.jpg"]
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 3


def test_the_name_of_a_study_is_enough(copy_of_finished: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `--out`, the predictions are in `predictions/STUDY` below the current folder."""
    monkeypatch.chdir(copy_of_finished)
    assert call("predict", "tiny", "--images", photos) == 0
    assert (copy_of_finished / "predictions" / "tiny" / "predictions.json").is_file()


def test_predict_rejects_wrong_arguments(study: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake is one line with the remedy and exit code 2, and nothing is written."""
    trials = load(study).trials
    tuning = trials.loc[trials["phase"] == "tune", "trial_id"].iloc[0]
    some_id = confirmed(study)["trial_id"].iloc[-1]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    out = tmp_path / "out"
    for options, message in (
        (("--images", tmp_path / "none", "--out", out), "is not a folder"),
        (("--images", tmp_path / "full", "--out", out), "contains no images (.jpg"),
        (("--images", photos, "--out", tmp_path / "full"), "the folder is not empty"),
        (("--images", photos, "--out", tmp_path / "full" / "file"), "is a file; name a new or empty folder"),
        (("--images", photos, "--out", out, "--store", tmp_path / "empty"), "there is no such folder"),
        (("--images", photos, "--out", out, "--trial", "zz"), "no trial of"),
        (("--images", photos, "--out", out, "--trial", tuning), "this run (tune, finished) keeps no weights"),
        (("--images", photos, "--out", out, "--trial", ""), "--trial: is empty; trials with weights"),
    ):
        assert call("predict", study, *options) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert (some_id in error) == ("--trial" in options)
    assert not out.exists()


def test_a_study_without_a_confirmed_run_is_an_error(
    copy_of_finished: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first confirmed run there is no model to apply."""
    study = copy_of_finished / "runs" / "tiny"
    forget_choices(study, read_index(study))
    assert call("predict", study, "--images", photos, "--out", tmp_path / "out") == 2
    assert "no confirmed run has finished" in capsys.readouterr().err
