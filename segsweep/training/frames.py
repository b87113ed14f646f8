"""Predictions of a model for a few images during training: one small file per result, beside the checkpoint."""

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
    """Predictions for the first `count` validation images: before training as frame 0, then after each result.

    A frame is written before the checkpoint that holds its result. A run that is interrupted and started again therefore has all
    frames of its checkpoint, and overwrites a frame that the checkpoint does not include.
    """

    folder: Path
    count: int

    def keep(self, result: int, predicted_KHW: Pixels) -> None:
        """Write the predicted class numbers, (K, H, W) uint8, after result number `result`; 0 is the start."""
        with replacing(self._path(result)) as temporary, temporary.open("wb") as file:
            np.save(file, predicted_KHW, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())  # after a power cut, the checkpoint could be complete and its frame cut short

    def load(self, results: int) -> Pixels:
        """Return all frames of a run with `results` results, (results + 1, K, H, W) uint8."""
        return np.stack([np.load(self._path(result), allow_pickle=False) for result in range(results + 1)])

    def _path(self, result: int) -> Path:
        return self.folder / f"frame-{result}.npy"


def save_clip(path: Path, frames: Frames, val_set: ImageSet, history: Sequence[Mapping[str, Any]]) -> None:
    """Write a few validation images (K, H, W, 3), their masks (K, H, W), and their predictions over time (T, K, H, W).

    All are uint8. The first of the T frames is the start. The file also holds each frame's optimiser step (T,), its number of
    results (T,), and the mean IoU over all validation images (T,), which is NaN at the start, before the first validation.
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
