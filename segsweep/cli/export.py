"""Confirmed runs taken out of a study: finding one and building its model; exporting the best for plain torch, with its card."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from segsweep.config.normalisation import IMAGENET, Normalisation
from segsweep.config.user_objects import PREFIX, fingerprint
from segsweep.errors import LostArtifactError, UserError
from segsweep.models.architectures import build_model
from segsweep.records.models import AGAIN, model_of
from segsweep.records.reader import Records
from segsweep.report.cells import best_first
from segsweep.report.new_folder import make_new
from segsweep.stage import WEIGHTS
from segsweep.store.folder import Artifact, Store
from segsweep.training.batches import normalise
from segsweep.training.checkpoint import load_weights

CHOSEN_BEFORE_KEEP = "validation IoU among confirmed runs; epochs by validation loss"  # of models without the setting `keep`
MEASURES = ("val_iou", "test_iou", "test_f1", "test_accuracy", "test_precision", "test_recall", "test_dice")
IDS_SHOWN = 20


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
    """Return the confirmed run with the best validation reading (never chosen by test scores)."""
    confirmed = _confirmed(records)
    chosen = confirmed[confirmed["chosen"]]
    if chosen.empty:
        raise UserError(f"{records.folder}: no confirmed run has finished; run the study first")
    return best_first(chosen).iloc[0]


def named_trial(records: Records, beginning: str) -> pd.Series:
    """Return the confirmed run whose id begins so. Raises `UserError`, with the ids that exist, where it is not one."""
    confirmed = _confirmed(records)
    if not beginning:
        raise UserError(f"--trial: is empty; those with weights: {_listed(confirmed)}")
    found = confirmed[confirmed["trial_id"].str.startswith(beginning)]
    if len(found) == 1:
        return found.iloc[0]
    if len(found):
        raise UserError(f"--trial {beginning}: several ids begin so: {_listed(found)}; give more of it")
    others = records.all_trials[records.all_trials["trial_id"].str.startswith(beginning)]
    if len(others):
        kind = f"{others['phase'].iloc[0]}, {others['status'].iloc[0]}"
        reason = f"this run ({kind}) keeps no weights, only confirmed runs that finished do"
    else:
        reason = f"no trial of {records.folder} has this id"
    raise UserError(f"--trial {beginning}: {reason}; those with weights: {_listed(confirmed)}")


def _confirmed(records: Records) -> pd.DataFrame:
    trials = records.trials
    return trials[(trials["phase"] == "confirm") & (trials["status"] == "finished")]


def _listed(trials: pd.DataFrame) -> str:
    more = f" and {len(trials) - IDS_SHOWN} more in the records" if len(trials) > IDS_SHOWN else ""
    return ", ".join(trials["trial_id"][:IDS_SHOWN]) + more if len(trials) else "none yet"


def find_weights(trial: pd.Series, store: Store) -> Artifact:
    """Return a confirmed run's model, its bytes checked. Raises `UserError` where the store has it no more, or damaged."""
    try:
        return model_of({str(column): value for column, value in trial.items()}, store)
    except LostArtifactError as error:
        again = AGAIN if trial["planned"] else "take another trial: the study no longer plans this one"
        raise UserError(f"the model of trial {trial['trial_id']} {error.reason}; pass another --store, or {again}") from None


def deployed(artifact: Artifact) -> Deployed:
    """Return a confirmed run's model with its weights, in eval mode.

    Raises `UserError` for an architecture that its study file brought and this process does not know, or knows with other code
    than that which was trained.
    """
    told = artifact.metadata
    architecture = told["settings"]["architecture"]
    if architecture.startswith(PREFIX):
        _check_known(architecture, told.get("own", {}).get(architecture))
    model = build_model(architecture, len(told["classes"]), seed=0, sigmoid_class=_sigmoid_class(told))
    try:
        model.network.load_state_dict(load_weights(artifact.folder / WEIGHTS)[0])
    except RuntimeError as error:
        if not architecture.startswith(PREFIX):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"architecture {architecture!r}: does not fit the weights that its study recorded: {reason}") from None
    return Deployed(model, _normalisation(artifact)).eval()


def _check_known(architecture: str, trained: str | None) -> None:
    """Raise `UserError` where this process lacks a user's architecture, or has other code of that name than was `trained`.

    Models of earlier versions do not say which code was trained.
    """
    if (known := fingerprint(architecture)) is None:
        raise UserError(
            f"architecture {architecture!r}: is in its study file alone; run this in that file's folder as "
            '`python -c "import FILE; from segsweep.cli.commands import command_line; command_line()" ...`'
        )
    if trained is not None and known != trained:
        raise UserError(
            f"architecture {architecture!r}: its code here is not the code that was trained; import the study file as it "
            "was then and no other that has this name, or run the study again"
        )


def _sigmoid_class(told: Mapping[str, Any]) -> int | None:
    """Return the class whose logit a model's one output channel is; None for a channel per class."""
    one = told["settings"].get("output") == "sigmoid"  # there is none in models from before that setting
    return told["classes"].index(told["foreground"]) if one else None


def _normalisation(artifact: Artifact) -> Normalisation:
    """Return a model's input normalisation: ImageNet's for one from before models had their own."""
    told = artifact.metadata
    return Normalisation.of(told) if "mean" in told else IMAGENET


def _chosen_by(artifact: Artifact) -> str:
    """Return by what a study's best run was chosen."""
    keep = artifact.metadata["settings"].get("keep")
    return f"{keep} among the confirmed runs of the study" if keep else CHOSEN_BEFORE_KEEP


def export_best(records: Records, store: Store, folder: Path) -> Path:
    """Write a study's best model: `model.pt2` (torch.export), `weights.safetensors`, `card.json` and `README.md`.

    Raises `UserError` where nothing has finished, the weights are gone, or the folder is not empty.
    """
    trial = best_trial(records)
    artifact = find_weights(trial, store)
    program = _export(artifact)  # before a folder is made that a refusal would leave empty
    make_new("--best", folder)
    torch.export.save(program, folder / "model.pt2")
    shutil.copy(artifact.folder / WEIGHTS, folder / WEIGHTS)
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
        **{name: str(trial[name]) for name in ("study", "cell")},  # as the records call them now
        "content_hash": artifact.content_hash,
        "measured": measured,
        "input": {
            "shape": "(B, 3, H, W)",
            "dtype": "uint8",
            "range": "0..255",
            "order": "RGB",
            **_normalisation(artifact).as_dict(),
            "bits_of_16_bit_files": artifact.metadata.get("bits"),
        },
        "output": "logits (B, classes, H, W); argmax over dimension 1 gives class numbers",
        "chosen_by": _chosen_by(artifact),
    }


def _split(settings: Mapping[str, Any]) -> str:
    """Return which test images the numbers of a card are of."""
    fold = settings.get("fold")
    return "this study's own split" if fold is None else f"fold {fold} of this study's cross-validation alone"


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

`weights.safetensors` holds the network's weights alone, by the names of the library that it comes from{_one_channel(card)}.

| measure | value |
|---|---|
{numbers}

Measured at {measured_at} on {_split(settings)} of `{card["target"]}`. It says nothing of other pictures.
"""


def _one_channel(card: dict[str, Any]) -> str:
    """Return what the reader of the weights has to know of a single output channel; nothing where there is one per class."""
    if (number := _sigmoid_class(card)) is None:
        return ""
    return f"; its one output channel is the logit of {card['classes'][number]}, the other's is 0"
