"""Results that are served are those that were recorded, and lost or damaged artifacts are rebuilt by the same command."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from called import call
from study_copy import copy_of_study

import segsweep
from segsweep import trial as trials
from segsweep.cli.study_script import main
from segsweep.config import Study
from segsweep.inference.confirmed_run import find_weights
from segsweep.records import Records, load
from segsweep.records.confirmed_models import lost_models
from segsweep.store.folder import FolderStore
from segsweep.training.checkpoint import load_weights


@pytest.fixture(scope="module")
def study(tiny_study: Study) -> Study:
    """One cell of random weights with one tuning trial and one confirmed run."""
    return replace(tiny_study, compare={"source": ["random"], "freeze": ["none"]}, trials_per_cell=1, seeds=1)


def run(study: Study, folder: Path) -> Records:
    return segsweep.run(study, out=folder / "runs", runner="inline", device="cpu", threads=1)


@pytest.fixture
def ran(run_once: Callable[[str, Study], Path], study: Study, tmp_path: Path) -> Path:
    """A copy of the folder in which the study was run, with artifacts that this machine has verified."""
    folder = copy_of_study(run_once("one-cell", study), tmp_path / "ran")
    store = FolderStore(folder / "store")
    for path in store.root.glob("*/*/artifact.json"):
        store.open(*path.parts[-3:-1])
    return folder


def confirmed(records: Records) -> "dict[str, object]":
    """Return the first confirmed run's row."""
    return records.trials[records.trials["phase"] == "confirm"].iloc[0].to_dict()


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file, by rewriting the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def other_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make trials begin with other weights, as changed code or other hardware would."""
    real = trials.build_model

    def build(*values: object) -> torch.nn.Module:
        model = real(*values)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
        return model

    monkeypatch.setattr(trials, "build_model", build)


def test_each_study_exports_the_model_of_its_record(study: Study, ran: Path, request: pytest.FixtureRequest) -> None:
    """Two studies with equal trials in one store, but different weights, each export their own model under their own name."""
    request.getfixturevalue("other_start")
    run(replace(study, name="other"), ran)
    ids, ious, weights = set(), set(), []
    for name in ("tiny", "other"):
        best = ran / f"best-{name}"
        assert call("export", ran / "runs" / name, "--best", best) == 0
        card, row = json.loads((best / "card.json").read_text()), confirmed(load(ran / "runs" / name))
        assert card["test_iou"] == card["measured"]["test_iou"] == row["test_iou"]
        assert (card["study"], card["content_hash"]) == (name, row["model_hash"])
        ids.add(row["trial_id"])
        ious.add(row["test_iou"])
        weights.append(load_weights(best / "weights.safetensors")[0])
    assert (len(ids), len(ious)) == (1, 2)
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("lost", ["damaged", "missing"])
def test_a_run_whose_model_is_lost_is_repeated(
    study: Study, ran: Path, capsys: pytest.CaptureFixture[str], lost: str, request: pytest.FixtureRequest
) -> None:
    """A plan and the next start report that the run counts as not run; only it is repeated, with a new record and model."""
    before = load(ran / "runs" / "tiny")
    folder = FolderStore(ran / "store").folder("model", str(confirmed(before)["model_key"]))
    shutil.rmtree(folder) if lost == "missing" else flip(folder / "weights.safetensors")
    options = ["--out", str(ran / "runs"), "--runner", "inline", "--device", "cpu", "--threads", "1"]
    line = f"1 confirmed run counts as not run, for lack of the model: that of trial {confirmed(before)['trial_id']} is {lost}"
    with pytest.raises(SystemExit) as ended:
        main(study, arguments=[*options, "--plan"])
    output = capsys.readouterr().out
    assert not ended.value.code
    assert line in output
    assert "2 trials (1 to tune, 1 to confirm), 1 done" in output
    assert folder.exists() == (lost == "damaged")
    request.getfixturevalue("other_start")
    after = run(study, ran)
    assert line in capsys.readouterr().err.replace("\n", "")
    assert after.trials["starts"].tolist() == [1, 1]
    assert len(after.epochs) == len(before.epochs)
    assert confirmed(after)["test_iou"] != confirmed(before)["test_iou"]
    assert [path.name for path in (ran / "store").glob("damaged/*")] == ([f"model-{folder.name}-1"] * (lost == "damaged"))
    model = find_weights(after.trials.set_index("phase", drop=False).loc["confirm"], FolderStore(ran / "store"))
    assert model.metadata["test_iou"] == confirmed(after)["test_iou"]
    assert run(study, ran).trials["starts"].tolist() == [1, 1]
    assert "counts as not run" not in capsys.readouterr().err


def test_export_of_a_damaged_model_names_the_remedy(study: Study, ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line names the file, the place where it is set aside, and the command that repeats the run; that command does so."""
    before = load(ran / "runs" / "tiny")
    key = confirmed(before)["model_key"]
    flip(ran / "store" / "model" / str(key) / "weights.safetensors")
    assert call("export", before.folder, "--best", ran / "best") == 2
    (line,) = capsys.readouterr().err.splitlines()
    there = ran / "store" / "damaged" / f"model-{key}-1"
    assert f"is damaged: weights.safetensors has other bytes than were written; set aside as {there}" in line
    assert "run the study's command again: it runs this confirmed run again" in line
    assert not (ran / "best").exists()
    assert call("report", before.folder) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("predictions.png omits 1 cell:")]
    assert "run the study's command again" in line
    run(study, ran)
    assert call("export", before.folder, "--best", ran / "best") == 0


def test_records_of_earlier_versions_are_compared_with_the_card(ran: Path) -> None:
    """Without `model_key`, the model under the trial's id is used if its card matches the record; otherwise it is lost."""
    trials, store = load(ran / "runs" / "tiny").trials, FolderStore(ran / "store")
    row = confirmed(load(ran / "runs" / "tiny"))
    store.folder("model", str(row["model_key"])).rename(store.folder("model", str(row["trial_id"])))
    assert list(lost_models(trials, store)) == [row["trial_id"]]
    earlier = trials.drop(columns=["model_key", "model_hash"])
    assert lost_models(earlier, store) == {}
    for column, value in {"test_iou": row["test_iou"] + 1e-5, "seed": 7, "total_parameters": 12}.items():
        (reason,) = lost_models(earlier.assign(**{column: value}), store).values()
        assert reason.startswith(f"is of another run of this trial: its {column} is ")


def test_damaged_data_and_stages_are_rebuilt(
    copy_of_finished: Path, tiny_study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """A grown study reports a flipped bit in the images and in a stage's weights, rebuilds both, and finishes."""
    before = load(copy_of_finished / "runs" / "tiny")
    store = FolderStore(copy_of_finished / "store")
    target = next(path for path in (store.root / "data").iterdir() if "ellipses" in (path / "index.json").read_text())
    stage = store.folder("weights", before.stages["key"].iloc[0])
    for kind, folder in (("data", target), ("weights", stage)):
        store.open(kind, folder.name)  # this machine has verified them
    flip(target / "images.npy")
    flip(stage / "weights.safetensors")
    after = run(replace(tiny_study, seeds=3), copy_of_finished)
    output = capsys.readouterr().err.replace("\n", "")
    assert "px is damaged: images.npy has other bytes than were written; set aside as" in output
    assert output.count("it is prepared again") == 1
    assert output.count(f"the weights {stage.name} are damaged: weights.safetensors") == 1
    assert (after.trials["status"] == "finished").all()
    assert len(after.trials) == len(before.trials) + 4
    assert after.stages["content_hash"].tolist() == before.stages["content_hash"].tolist()
    for kind, folder in (("data", target), ("weights", stage)):
        store.open(kind, folder.name, verify="always")
    assert len(list((store.root / "damaged").iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-9]), Path.unlink], ids=["cut", "missing"])
def test_the_same_command_continues_without_a_declaration(
    tiny_study: Study, copy_of_finished: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    """If `study.json` is damaged or missing, the study's command writes it again and repeats nothing, as the remedy states."""
    path = copy_of_finished / "runs" / "tiny" / "study.json"
    damage(path)
    options = ["--runner", "inline", "--device", "cpu", "--threads", "1", "--out", str(path.parent.parent)]
    for arguments, code, words in ((["--plan"], 2, "run the study's command again"), ([], 0, "rewritten")):
        with pytest.raises(SystemExit) as end:
            main(tiny_study, arguments=[*options, *arguments])
        output = capsys.readouterr().err
        assert (end.value.code or 0) == code, output
        assert f"{path}: " in output
        assert words in output
    assert load(path.parent).trials["starts"].tolist() == [1] * 16
