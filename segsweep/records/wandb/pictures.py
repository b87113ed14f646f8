"""Example predictions of a confirmed run as W&B shows them: a picture with its true and predicted mask to lay over it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from PIL import Image

MASKS = {"predicted": "prediction", "truth": "ground_truth", "before": "before"}  # by the names of the files


def examples(model: Path, classes: Sequence[str]) -> list[wandb.Image]:
    """Return the kept test pictures of a confirmed run, from its folder in the store; none where it has kept none."""
    labels = dict(enumerate(classes))
    shown = []
    for path in sorted(model.glob("example-*-picture.png")):
        beginning = path.name.removesuffix("picture.png")
        masks: dict[str, Any] = {
            name: {"mask_data": np.asarray(Image.open(model / f"{beginning}{what}.png")), "class_labels": labels}
            for what, name in MASKS.items()
            if (model / f"{beginning}{what}.png").is_file()
        }
        shown.append(wandb.Image(str(path), masks=masks, caption=beginning.strip("-")))
    return shown
