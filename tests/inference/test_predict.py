"""Prediction of a study's confirmed run on a folder of images."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from photos import SIZES, figure, write_photos
from PIL import Image
from torch.nn.functional import interpolate

import segsweep
from segsweep.config import Architecture, Study, Target, user_objects
from segsweep.data.image_files import open_image
from segsweep.errors import UserError
from segsweep.inference.export import export
from segsweep.inference.predict import predict
from segsweep.records import load
from segsweep.report.overlay import coloured
from segsweep.store.contents import INDEX_FILE
from segsweep.training.checkpoint import load_weights


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of images of several formats."""
    return write_photos(tmp_path / "photos")


@pytest.fixture
def study(finished: Path) -> Path:
    """The folder of the finished tiny study."""
    return finished / "runs" / "tiny"


def confirmed(study: Path) -> pd.DataFrame:
    """Return the confirmed runs of a study, the best first."""
    trials = load(study).trials
    return trials[trials["phase"] == "confirm"].sort_values("val_iou", ascending=False, kind="stable")


def mask_of(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return the class numbers in a palette image."""
    image = Image.open(path)
    assert image.mode == "P"
    return np.asarray(image)


def test_masks_equal_the_exported_models_prediction(study: Path, photos: Path, tmp_path: Path) -> None:
    """Pixel values are the class numbers of the exported model, at the image's size and orientation."""
    out = tmp_path / "out"
    predict(load(study), photos, out, probabilities=True, device="cpu")
    export(load(study), tmp_path / "best")
    model = torch.export.load(tmp_path / "best" / "model.pt2").module()
    assert sorted(path.stem for path in (out / "masks").iterdir()) == sorted(SIZES)
    for path in (photos / "turned.JPG", photos / "clear.png", photos / "grey.tif"):
        image = Image.fromarray(open_image(path))
        assert image.size == SIZES[path.stem]
        square = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
        with torch.inference_mode():
            logits = model(torch.from_numpy(square.copy()).permute(2, 0, 1)[None])
            logits = interpolate(logits, size=image.size[::-1], mode="bilinear")[0]
        mask = mask_of(out / "masks" / f"{path.stem}.png")
        assert (mask == logits.argmax(dim=0).numpy()).mean() > 0.995
        planes = np.stack(
            [np.asarray(Image.open(out / "probabilities" / f"{path.stem}-{name}.png")) for name in ("background", "figure")]
        )
        assert planes.shape[1:] == mask.shape
        assert np.abs(planes.astype(int).sum(axis=0) - 255).max() <= 1
        assert np.abs(planes - 255 * logits.softmax(dim=0).numpy()).max() < 2
        colours = np.asarray(Image.open(out / "masks" / f"{path.stem}.png").convert("RGB"))
        assert (colours == coloured(mask)).all()


def test_overlays_shares_and_the_applied_run_are_written(study: Path, photos: Path, tmp_path: Path) -> None:
    """Overlays have a legend below, shares add up to 1, and `predictions.json` names the run, its weights and the files."""
    out = tmp_path / "out"
    shown = list[tuple[str, int, int]]()
    done = predict(load(study), photos, out, device="cpu", progress=lambda *step: shown.append(step))
    assert shown == [("predicting", number, 3) for number in (1, 2, 3)]
    assert (len(done.images), done.failed) == (3, [])
    assert not (out / "probabilities").exists()
    card = json.loads((out / "predictions.json").read_text())
    best = confirmed(study).iloc[0]
    assert (card["study"], card["trial_id"], card["cell"]) == ("tiny", best["trial_id"], best["cell"])
    assert (card["classes"], card["source"], card["failed"]) == (["background", "figure"], best["source"], [])
    index = json.loads((study.parents[1] / "store" / "model" / best["model_key"] / INDEX_FILE).read_text())
    assert card["weights_sha256"] == index["files"]["weights.safetensors"][1]
    with (out / "shares.csv").open(encoding="utf-8") as file:
        shares = {row.pop("image"): row for row in csv.DictReader(file)}
    assert [row["image"] for row in card["images"]] == ["clear.png", "grey.tif", "turned.JPG"] == list(shares)
    for row in card["images"]:
        mask = mask_of(out / row["mask"])
        assert float(shares[row["image"]]["figure"]) == pytest.approx((mask == 1).mean(), abs=1e-6)
        overlay = np.asarray(Image.open(out / row["overlay"]))
        height, width = mask.shape
        assert overlay.shape[0] > height
        image = open_image(photos / row["image"])
        assert (overlay[:height, :width][mask == 0] == image[mask == 0]).all()
        assert not (overlay[:height, :width][mask == 1] == image[mask == 1]).all(axis=-1).any()


def test_images_with_one_stem_do_not_overwrite_each_other(study: Path, tmp_path: Path) -> None:
    """`a.jpg` and `A.png` keep their suffixes, as do images whose probabilities would share a file; `b.png` becomes `b`."""
    for number, (names, alone) in enumerate(((("a.jpg", "A.png"), ["b"]), (("a.png", "a-figure.png"), []))):
        folder = tmp_path / f"photos{number}"
        folder.mkdir()
        for place, name in enumerate([*names, *(f"{each}.png" for each in alone)]):
            figure(20 + place, 30).save(folder / name)
        out = tmp_path / f"out{number}"
        predict(load(study), folder, out, probabilities=True, device="cpu")
        for name in names:
            assert mask_of(out / "masks" / f"{name}.png").shape == open_image(folder / name).shape[:2]
        assert {path.stem for path in (out / "masks").iterdir()} == {*names, *alone}
        assert len(list((out / "probabilities").iterdir())) == 2 * (len(names) + len(alone))


def test_odd_and_long_names_are_handled(study: Path, tmp_path: Path) -> None:
    """A name that is not UTF-8, and one too long for its classes' files, get their files, and the tables list both."""
    folder = tmp_path / "photos"
    folder.mkdir()
    figure(32, 32).save(folder / f"{'l' * 245}.png")
    odd = folder / os.fsdecode(b"b\xff.png")
    figure(32, 32).save(odd)
    predict(load(study), folder, tmp_path / "out", probabilities=True, device="cpu")
    written = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert {row["image"] for row in written["images"]} == {odd.name, f"{'l' * 245}.png"}
    assert all((tmp_path / "out" / row["mask"]).is_file() for row in written["images"])
    assert len((tmp_path / "out" / "shares.csv").read_bytes().splitlines()) == 3


def test_another_confirmed_run_is_selected_by_its_id(study: Path, photos: Path, tmp_path: Path) -> None:
    """`trial` selects a run by the beginning of its id."""
    last = confirmed(study).iloc[-1]
    predict(load(study), photos, tmp_path / "out", trial=last["trial_id"][:12], device="cpu")
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["trial_id"] == last["trial_id"]


def test_a_run_with_crop_sees_whole_images(copy_of_finished: Path, photos: Path, tmp_path: Path) -> None:
    """Prediction uses the `fit` in the artifact: with `crop` the mask differs, and has the same size."""
    study, store = copy_of_finished / "runs" / "tiny", copy_of_finished / "store"
    predict(load(study), photos, tmp_path / "resized", store=store, device="cpu")
    index = store / "model" / confirmed(study).iloc[0]["model_key"] / INDEX_FILE
    content = json.loads(index.read_text())
    del content["checksum"]
    content["metadata"]["fit"] = "crop"
    index.write_text(json.dumps(content))
    predict(load(study), photos, tmp_path / "cropped", store=store, device="cpu")
    masks = [mask_of(tmp_path / way / "masks" / "turned.png") for way in ("resized", "cropped")]
    assert masks[0].shape == masks[1].shape == (70, 50)
    assert (masks[0] != masks[1]).any()
    squares = [mask_of(tmp_path / way / "masks" / "grey.png") for way in ("resized", "cropped")]
    assert (squares[0] == squares[1]).all()


def test_an_unknown_user_architecture_is_one_line_with_the_command(
    copy_of_finished: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An architecture defined only in its study file raises one line with the command that imports that file."""
    study, store = copy_of_finished / "runs" / "tiny", copy_of_finished / "store"
    best = store / "model" / confirmed(study).iloc[0]["model_key"]
    content = json.loads((best / INDEX_FILE).read_text())
    del content["checksum"]
    content["metadata"]["settings"]["architecture"] = "own:net"
    (best / INDEX_FILE).write_text(json.dumps(content))
    monkeypatch.setattr(user_objects, "_REGISTERED", {})
    with pytest.raises(UserError, match=r'python -c "import FILE; from segsweep\.cli\.commands import command_line'):
        predict(load(study), photos, tmp_path / "out", store=store, device="cpu")


class Positive(torch.nn.Module):
    """A network of two convolutions."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder, self.head = torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(images).relu())


class Negative(Positive):
    """Another network with the same names and shapes of parameters."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -super().forward(images)


def test_a_user_architecture_with_other_code_is_refused(
    ellipses: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are not loaded into another network with the same name, declared by a second study of the process."""
    monkeypatch.setattr(user_objects, "_REGISTERED", {})
    fixed = {"image_px": 32, "epochs": 1, "batch_size": 8, "source": "random"}
    compare = {"architecture": [Architecture("net", build=Positive, encoder="encoder.", classifier="head.")]}
    first = Study("first", Target(f"folder:{ellipses}"), compare, fixed=fixed, seeds=1)
    segsweep.run(first, out=tmp_path / "runs", runner="inline", device="cpu", threads=1)
    predict(load(tmp_path / "runs" / "first"), photos, tmp_path / "same", device="cpu")
    compare = {"architecture": [Architecture("net", build=Negative, encoder="encoder.", classifier="head.")]}
    Study("second", Target(f"folder:{ellipses}"), compare, fixed=fixed, seeds=1)
    with pytest.raises(UserError, match="own:net': its code here is not the code that was trained"):
        predict(load(tmp_path / "runs" / "first"), photos, tmp_path / "other", device="cpu")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("foreground", ["figure", "background"])
def test_a_model_with_one_logit_is_exported_and_applied(ellipses: Path, photos: Path, tmp_path: Path, foreground: str) -> None:
    """A run with output=sigmoid is exported with one output channel, and predicts as in its test.

    The README of the export describes the channel; probabilities are the sigmoid of its logit, whichever class is the foreground.
    """
    declared = Study(
        name="one",
        target=Target(f"folder:{ellipses}", foreground=foreground),
        compare={"source": ["random"]},
        fixed={"architecture": "unet4", "image_px": 32, "epochs": 1, "batch_size": 8, "output": "sigmoid", "loss": "dice"},
        seeds=1,
    )
    segsweep.run(declared, out=tmp_path / "runs", runner="inline", device="cpu", threads=1)
    folder, best, out = tmp_path / "runs" / "one", tmp_path / "best", tmp_path / "out"
    export(load(folder), best)
    assert load_weights(best / "weights.safetensors")[0]["classifier.weight"].shape[0] == 1
    assert f"its one output channel is the logit of {foreground}, the other's is 0" in (best / "README.md").read_text()
    predict(load(folder), photos, out, probabilities=True, device="cpu")
    image = open_image(photos / "grey.tif").copy()
    logits = torch.export.load(best / "model.pt2").module()(torch.from_numpy(image).permute(2, 0, 1)[None])[0].detach()
    number = ["background", "figure"].index(foreground)
    assert not logits[1 - number].any()
    assert (mask_of(out / "masks" / "grey.png") == logits.argmax(dim=0).numpy()).all()
    plane = np.asarray(Image.open(out / "probabilities" / f"grey-{foreground}.png"))
    assert np.abs(plane - 255 * logits[number].sigmoid().numpy()).max() < 1
