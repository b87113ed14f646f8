"""Example predictions of a confirmed run as W&B shows them: a picture with its true and predicted mask to lay over it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from PIL import Image

from segsweep.store.contents import BEFORE, IMAGE, PREDICTED, TRUTH, example_file, example_files

MASKS = {PREDICTED: "prediction", TRUTH: "ground_truth", BEFORE: "before"}  # by the names of the files


def examples(model: Path, classes: Sequence[str]) -> list[wandb.Image]:
    """Return the kept test pictures of a confirmed run, from its folder in the store; none where it has kept none."""
    labels = dict(enumerate(classes))
    shown = []
    for position, path in enumerate(example_files(model, IMAGE)):
        masks: dict[str, Any] = {
            name: {"mask_data": np.asarray(Image.open(file)), "class_labels": labels}
            for what, name in MASKS.items()
            if (file := model / example_file(position, what)).is_file()
        }
        shown.append(wandb.Image(str(path), masks=masks, caption=f"example-{position}"))
    return shown
