"""What a model predicts for a few images as it is trained: a small file for each result, beside the checkpoint."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segsweep.data.dataset import Pixels
from segsweep.files import replacing
from segsweep.training.batches import ImageSet


@dataclass(frozen=True)
class Frames:
    """The predictions for the first `count` validation images: before training as frame 0, and after every result.

    A frame is written before the checkpoint that holds its result: a run that is broken off and started again has them all, and
    writes a frame that no checkpoint knew of once more in its place.
    """

    folder: Path
    count: int

    def keep(self, result: int, predicted_KHW: Pixels) -> None:
        """Write the predicted class numbers (K, H, W) after result number `result`, 0 for the start."""
        with replacing(self._path(result)) as temporary, temporary.open("wb") as file:
            np.save(file, predicted_KHW, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())  # a torn frame would be missing at the end of a run whose checkpoint is whole

    def load(self, results: int) -> Pixels:
        """Return all frames of a run with `results` results, (results + 1, K, H, W) uint8."""
        return np.stack([np.load(self._path(result), allow_pickle=False) for result in range(results + 1)])

    def _path(self, result: int) -> Path:
        return self.folder / f"frame-{result}.npy"


def save_clip(path: Path, frames: Frames, val_set: ImageSet, history: Sequence[Mapping[str, Any]]) -> None:
    """Write a few validation images (K, H, W, 3), their masks (K, H, W), and what was predicted over time (T, K, H, W).

    Beside each of the T frames, the first of which is the start, stand its optimiser step, its number of results, and the mean
    IoU over all validation images (NaN at the start, where they were not looked at).
    """
    shown, data = val_set.members[: frames.count], val_set.data
    np.savez_compressed(
        path,
        pictures_KHWC=data.images[shown],
        truths_KHW=data.masks[shown],
        frames_TKHW=frames.load(len(history)),
        steps_T=np.array([0, *(result["steps"] for result in history)]),
        epochs_T=np.arange(len(history) + 1),
        val_mean_iou_T=np.array([np.nan, *(result["val"]["mean_iou"] for result in history)]),
    )
