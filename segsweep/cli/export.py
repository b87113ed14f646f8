"""Exporting a model that plain torch can load, with its card."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from segsweep.config.settings import Settings
from segsweep.errors import UserError
from segsweep.models.architectures import build_model
from segsweep.records.reader import Records
from segsweep.stage import WEIGHTS
from segsweep.store.folder import Artifact, Store
from segsweep.training.batches import Normalisation, normalise
from segsweep.training.checkpoint import load_weights
from segsweep.trial import KIND

MEASURES = ("val_iou", "test_iou", "test_f1", "test_accuracy", "test_precision", "test_recall", "test_dice")


class Deployed(nn.Module):
    """A network with its normalisation: RGB images (B, 3, H, W), uint8 0..255, to logits (B, classes, H, W)."""

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        self.normalisation = normalisation

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.network(normalise(images_BCHW, self.normalisation))
        return logits


def best_trial(records: Records) -> pd.Series:
    """Return the confirmed run with the best validation IoU (never chosen by test scores)."""
    trials = records.trials
    confirmed = trials[trials["chosen"] & (trials["phase"] == "confirm") & (trials["status"] == "finished")]
    if confirmed.empty:
        raise UserError(f"{records.folder}: no confirmed run has finished; run the study first")
    return confirmed.sort_values("val_iou", ascending=False, kind="stable").iloc[0]


def export_best(records: Records, store: Store, folder: Path) -> Path:
    """Write a study's best model: `model.pt2` (torch.export), `weights.safetensors`, `card.json` and `README.md`.

    Raises `UserError` where nothing has finished, the weights are gone, or the folder is not empty.
    """
    trial = best_trial(records)
    artifact = store.find(KIND, str(trial["trial_id"]))
    if artifact is None:
        raise UserError(f"the weights of trial {trial['trial_id']} are not in the store {store.root}; pass --store")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"--best {folder}: the folder is not empty")
    store.verify(artifact)
    folder.mkdir(parents=True, exist_ok=True)
    program = _export(artifact)
    torch.export.save(program, folder / "model.pt2")
    shutil.copy(artifact.folder / WEIGHTS, folder / WEIGHTS)
    card = _card(artifact, trial)
    (folder / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    (folder / "README.md").write_text(_readme(card), encoding="utf-8")
    _verify(folder, artifact)
    return folder


def _export(artifact: Artifact) -> torch.export.ExportedProgram:
    settings = Settings.build(**artifact.metadata["settings"])
    model = build_model(settings.architecture, len(artifact.metadata["classes"]), seed=0)
    model.network.load_state_dict(load_weights(artifact.folder / WEIGHTS)[0])
    images = torch.zeros(2, 3, settings.image_px, settings.image_px, dtype=torch.uint8)
    told = artifact.metadata
    normalisation = Normalisation(tuple(told["mean"]), tuple(told["std"]))
    return torch.export.export(
        Deployed(model, normalisation).eval(), (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
    )


def _verify(folder: Path, artifact: Artifact) -> None:
    """Load what was written as a user would, and compare with a prediction that was kept when the run was tested."""
    picture = np.asarray(Image.open(artifact.folder / "example-0-picture.png"))
    kept = np.asarray(Image.open(artifact.folder / "example-0-predicted.png"))
    images = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
    predicted = torch.export.load(folder / "model.pt2").module()(images).argmax(dim=1)[0].numpy()
    agreement = float((predicted == kept).mean())
    if agreement < 0.98:  # bfloat16 and float32 may differ along edges
        raise RuntimeError(f"the exported model agrees with the tested one on only {agreement:.1%} of a test picture")


def _card(artifact: Artifact, trial: pd.Series) -> dict[str, Any]:
    measured = {name: float(trial[name]) for name in MEASURES if pd.notna(trial[name])}
    return {
        **artifact.metadata,
        "content_hash": artifact.content_hash,
        "measured": measured,
        "input": {
            "shape": "(B, 3, H, W)",
            "dtype": "uint8",
            "range": "0..255",
            "order": "RGB",
            **{key: artifact.metadata[key] for key in ("mean", "std")},
        },
        "output": "logits (B, classes, H, W); argmax over dimension 1 gives class numbers",
        "chosen_by": "validation IoU among the confirmed runs of the study",
    }


def _readme(card: dict[str, Any]) -> str:
    settings = card["settings"]
    numbers = "\n".join(f"| {name} | {value:.4f} |" for name, value in card["measured"].items())
    classes = ", ".join(f"{number} {name}" for number, name in enumerate(card["classes"]))
    size = settings["image_px"]
    return f"""# {settings["architecture"]} for {card["target"]}

The best confirmed run of the study `{card["study"]}`, chosen by validation IoU: cell `{card["cell"]}`, seed {card["seed"]}.

- Source of the initial weights: `{settings["source"]}`; frozen: {settings["freeze"]}; learning rate
  {settings["learning_rate"]:g}; {settings["fraction"]:.0%} of the training split.
- Classes: {classes}.
- Input: RGB images (B, 3, {size}, {size}), uint8; the normalisation is inside the model.

```python
import torch

model = torch.export.load("model.pt2").module()
class_numbers = model(images_uint8).argmax(dim=1)
```

`weights.safetensors` holds the network's weights alone, by the names of the library that it comes from.

| measure | value |
|---|---|
{numbers}

Measured at {size} px on this study's own split of `{card["target"]}`. It says nothing of other pictures.
"""
