"""Export of a study's best model."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from segsweep.inference.export import export
from segsweep.records import load


def test_an_exported_model_loads_in_plain_torch(finished: Path, tmp_path: Path) -> None:
    """A process that imports only torch loads the model and predicts what the tested run predicted, for any batch size."""
    study, best = finished / "runs" / "tiny", tmp_path / "best"
    assert export(load(study), best) == best
    trials = load(study).trials
    confirmed = trials[trials["phase"] == "confirm"]
    chosen, key = confirmed.loc[confirmed["val_iou"].idxmax(), ["trial_id", "model_key"]]
    card = json.loads((best / "card.json").read_text())
    assert card["trial_id"] == chosen
    assert card["classes"] == ["background", "figure"]
    assert "test_iou" in (best / "README.md").read_text()
    artifact = finished / "store" / "model" / key
    code = f"""
import sys, torch, numpy
images = torch.stack([torch.from_numpy(numpy.load({str(tmp_path / "images.npy")!r}))] * 3)
numpy.save({str(tmp_path / "predicted.npy")!r}, torch.export.load({str(best / "model.pt2")!r}).module()(images).argmax(1).numpy())
assert not any(name.startswith(("segsweep", "segmentation_models")) for name in sys.modules)
"""
    np.save(tmp_path / "images.npy", np.asarray(Image.open(artifact / "example-1-picture.png")).transpose(2, 0, 1))
    subprocess.run([sys.executable, "-c", code], check=True)
    predicted = np.load(tmp_path / "predicted.npy")
    assert predicted.shape == (3, 32, 32)
    assert (predicted[2] == np.asarray(Image.open(artifact / "example-1-predicted.png"))).all()


def test_a_model_from_before_keep_and_normalisation_is_exported(copy_of_finished: Path, tmp_path: Path) -> None:
    """A model without `keep`, `mean` and `std` is exported with ImageNet's normalisation; its card names the earlier measure."""
    for file in (copy_of_finished / "store" / "model").glob("*/artifact.json"):
        artifact = json.loads(file.read_text())
        del artifact["checksum"]
        for name in ("keep", "normalisation", "test_size"):
            del artifact["metadata"]["settings"][name]
        for name in ("mean", "std", "fit", "foreground"):
            del artifact["metadata"][name]
        file.write_text(json.dumps(artifact))
    study, store, best = copy_of_finished / "runs" / "tiny", copy_of_finished / "store", tmp_path / "best"
    export(load(study), best, store=store)
    card = json.loads((best / "card.json").read_text())
    assert card["chosen_by"] == "validation IoU among confirmed runs; epochs by validation loss"
    assert card["input"]["mean"] == [0.485, 0.456, 0.406]
    text = (best / "README.md").read_text()
    assert "chosen by validation IoU among confirmed runs; epochs by validation loss: cell" in text
    assert "Measured at 32 px on" in text


def test_an_exported_models_readme_names_the_test_size(copy_of_finished: Path, tmp_path: Path) -> None:
    """The README of a model tested with test_size=original names the original sizes of the masks."""
    for file in (copy_of_finished / "store" / "model").glob("*/artifact.json"):
        artifact = json.loads(file.read_text())
        del artifact["checksum"]
        artifact["metadata"]["settings"]["test_size"] = "original"
        file.write_text(json.dumps(artifact))
    study, store, best = copy_of_finished / "runs" / "tiny", copy_of_finished / "store", tmp_path / "best"
    export(load(study), best, store=store)
    assert "Measured at the masks' original sizes on" in (best / "README.md").read_text()
