"""A stored model in W&B's types: its files as an artifact, its example predictions as images with masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from PIL import Image

from segsweep.records.wandb.names import MODEL_TYPE
from segsweep.store.contents import BEFORE, IMAGE, INDEX_FILE, PREDICTED, TRUTH, WEIGHTS_FILE, example_file, example_files

MASKS = {PREDICTED: "prediction", TRUTH: "ground_truth", BEFORE: "before"}  # kind in the file name -> key in W&B


def model_artifact(name: str, folder: Path, weights: bool) -> wandb.Artifact:
    """Return a stored model as an artifact: its index and, if `weights`, its weights.

    The index contains the checksum of the weights, so an artifact without weights still identifies them.
    """
    artifact = wandb.Artifact(name, type=MODEL_TYPE)
    for file in (INDEX_FILE, WEIGHTS_FILE) if weights else (INDEX_FILE,):
        if (folder / file).is_file():
            artifact.add_file(str(folder / file), skip_cache=True)  # the policy "immutable" would send the path to W&B
    return artifact


def example_images(folder: Path, classes: Sequence[str]) -> list[wandb.Image]:
    """Return the example images of a confirmed run with their true and predicted masks; empty if it has none."""
    labels = dict(enumerate(classes))
    images = []
    for position, path in enumerate(example_files(folder, IMAGE)):
        masks: dict[str, Any] = {
            name: {"mask_data": np.asarray(Image.open(file)), "class_labels": labels}
            for what, name in MASKS.items()
            if (file := folder / example_file(position, what)).is_file()
        }
        images.append(wandb.Image(str(path), masks=masks, caption=f"example-{position}"))
    return images
