"""Export of a study's best model: a file that plain torch loads, the weights, and a card that describes them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from segsweep.inference.confirmed_run import best_trial, find_weights, store_of
from segsweep.inference.deployed import deployed, normalisation_of, sigmoid_class
from segsweep.records.study_records import Records
from segsweep.report.new_folder import make_new
from segsweep.store.contents import IMAGE, PREDICTED, WEIGHTS_FILE, example_file
from segsweep.store.protocol import Artifact

CHOSEN_BEFORE_KEEP = "validation IoU among confirmed runs; epochs by validation loss"  # for models without the setting `keep`
MEASURES = ("val_iou", "test_iou", "test_f1", "test_accuracy", "test_precision", "test_recall", "test_dice")


def export(records: Records, folder: str | Path, *, store: str | Path | None = None) -> Path:
    """Write a study's best model as `model.pt2` (torch.export), `weights.safetensors`, `card.json` and `README.md`.

    The model takes RGB images (B, 3, image_px, image_px), uint8 0..255, and returns logits (B, classes, image_px, image_px).
    Before returning, the written model is loaded and compared with a prediction of the tested one.

    Args:
        records: Records of the study.
        folder: Where to write; a new or empty folder.
        store: Folder of the store; by default the one that the study used.

    Returns:
        The folder.

    Raises:
        UserError: no confirmed run has finished, its weights are missing, or the folder is not empty.
    """
    artifacts, folder = store_of(records, store), Path(folder)
    trial = best_trial(records)
    artifact = find_weights(trial, artifacts)
    program = _export(artifact)  # before the folder is created, since this may raise
    make_new("--best", folder)
    torch.export.save(program, folder / "model.pt2")
    shutil.copy(artifact.folder / WEIGHTS_FILE, folder / WEIGHTS_FILE)
    card = _card(artifact, trial)
    (folder / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    (folder / "README.md").write_text(_readme(card), encoding="utf-8")
    _verify(folder, artifact)
    return folder


def _export(artifact: Artifact) -> torch.export.ExportedProgram:
    image_px = artifact.metadata["settings"]["image_px"]
    images = torch.zeros(2, 3, image_px, image_px, dtype=torch.uint8)
    return torch.export.export(deployed(artifact), (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))


def _verify(folder: Path, artifact: Artifact) -> None:
    """Load the exported model as a user would, and compare it with a prediction that the run stored at its test."""
    example_image = np.asarray(Image.open(artifact.folder / example_file(0, IMAGE)))
    kept = np.asarray(Image.open(artifact.folder / example_file(0, PREDICTED)))
    images = torch.from_numpy(example_image.copy()).permute(2, 0, 1)[None]
    predicted = torch.export.load(folder / "model.pt2").module()(images).argmax(dim=1)[0].numpy()
    agreement = float((predicted == kept).mean())
    if agreement < 0.98:  # bfloat16 and float32 may differ along edges
        raise RuntimeError(f"the exported model agrees with the tested one on only {agreement:.1%} of a test image")


def _card(artifact: Artifact, trial: pd.Series) -> dict[str, Any]:
    measured = {name: float(trial[name]) for name in MEASURES if pd.notna(trial[name])}
    return {
        **artifact.metadata,
        **{name: str(trial[name]) for name in ("study", "cell")},  # their present names in the records
        "content_hash": artifact.content_hash,
        "measured": measured,
        "input": {
            "shape": "(B, 3, H, W)",
            "dtype": "uint8",
            "range": "0..255",
            "order": "RGB",
            **normalisation_of(artifact).as_dict(),
            "bits_of_16_bit_files": artifact.metadata.get("bits"),
        },
        "output": "logits (B, classes, H, W); argmax over dimension 1 gives class numbers",
        "chosen_by": _chosen_by(artifact),
    }


def _split(settings: Mapping[str, Any]) -> str:
    """Return the name of the split on which a card's numbers were measured."""
    fold = settings.get("fold")
    return "this study's split" if fold is None else f"only fold {fold} of this study's cross-validation"


def _readme(card: dict[str, Any]) -> str:
    settings = card["settings"]
    numbers = "\n".join(f"| {name} | {value:.4f} |" for name, value in card["measured"].items())
    classes = ", ".join(f"{number} {name}" for number, name in enumerate(card["classes"]))
    size = settings["image_px"]
    bits = card["input"]["bits_of_16_bit_files"]
    deep = f" Values of 16-bit files were divided by {2 ** (bits - 8)} (their range: {bits} bits)." if bits else ""
    measured_at = "the masks' original sizes" if settings.get("test_size") == "original" else f"{size} px"
    return f"""# {settings["architecture"]} for {card["target"]}

The best confirmed run of the study `{card["study"]}`, chosen by {card["chosen_by"]}: cell `{card["cell"]}`, seed {card["seed"]}.

- Source of the initial weights: `{settings["source"]}`; frozen: {settings["freeze"]}; learning rate
  {settings["learning_rate"]:g}; {settings["fraction"]:.0%} of the training split.
- Classes: {classes}.
- Input: RGB images (B, 3, {size}, {size}), uint8; the normalisation is inside the model.{deep}

```python
import torch

model = torch.export.load("model.pt2").module()
class_numbers = model(images_uint8).argmax(dim=1)
```

`weights.safetensors` contains only the network's weights, with the parameter names of its library{_one_channel(card)}.

| measure | value |
|---|---|
{numbers}

Measured at {measured_at} on {_split(settings)} of `{card["target"]}`. The numbers do not hold for other images.
"""


def _one_channel(card: dict[str, Any]) -> str:
    """Return a remark on a single output channel; an empty text for a model with a channel per class."""
    if (number := sigmoid_class(card)) is None:
        return ""
    return f"; its one output channel is the logit of {card['classes'][number]}, the other's is 0"


def _chosen_by(artifact: Artifact) -> str:
    """Return the measure by which a study's best run was chosen."""
    keep = artifact.metadata["settings"].get("keep")
    return f"{keep} among the confirmed runs of the study" if keep else CHOSEN_BEFORE_KEEP
