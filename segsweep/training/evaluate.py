"""Evaluation of a model on a split: loss, confusion matrices, time."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segsweep.data.dataset import IGNORE, Pixels
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.training.batches import PictureSet, load_batches, normalise
from segsweep.training.device import Device
from segsweep.training.losses import LOSSES
from segsweep.training.metrics import Counts
from segsweep.training.world import World


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gives.

    `loss` is the mean over the images, each taken by itself; `confusion_NCC` has one matrix an image (truth in rows,
    prediction in columns); `predict_seconds` is the time of forward passes and arg-max alone; `examples` are the
    predictions for the first images.
    """

    loss: float
    confusion_NCC: Counts
    predict_seconds: float
    examples: Pixels

    @property
    def confusion_CC(self) -> Counts:
        """The matrix of the whole split."""
        total: Counts = self.confusion_NCC.sum(axis=0)
        return total


def evaluate(
    model: SegmentationModel,
    pictures: PictureSet,
    *,
    loss: str,
    batch_size: int,
    precision: str,
    device: Device,
    examples: int = 0,
    world: World | None = None,
) -> Evaluation:
    """Run a model over pictures in eval mode and count; the model's mode is restored.

    `examples` says for how many of the first pictures the predicted class numbers (H, W) are kept. The processes of a
    world take a share each, and all get the whole.
    """
    world = world or World()
    count, classes = len(pictures), len(pictures.data.classes)
    assert count > 0
    own = world.share(np.arange(count))
    batches = np.split(own, range(batch_size, len(own), batch_size)) if len(own) else []
    losses: list[Tensor] = []
    confusions = [torch.zeros((0, classes, classes), dtype=torch.long, device=device.torch)]
    kept: list[Tensor] = [torch.zeros((0, *pictures.data.masks.shape[1:]), dtype=torch.uint8, device=device.torch)]
    seconds = 0.0
    training = model.training
    model.eval()
    with torch.inference_mode(), torch.autocast(device.torch.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for images, masks_BHW in load_batches(pictures, batches, device):
            inputs = normalise(images)
            device.wait()
            start = time.perf_counter()
            logits_BCHW = model(inputs)
            predicted_BHW = logits_BCHW.argmax(dim=1)
            device.wait()
            seconds += time.perf_counter() - start
            pairs = zip(logits_BCHW.float(), masks_BHW, strict=True)  # each by itself: batches must not matter
            losses += [LOSSES[loss](logits_CHW[None], mask_HW[None]) for logits_CHW, mask_HW in pairs]
            confusions.append(confusion(masks_BHW, predicted_BHW, classes))
            if sum(len(part) for part in kept) < examples:
                kept.append(predicted_BHW.to(torch.uint8))
    model.train(training)
    each = torch.stack(losses).double().cpu().numpy() if losses else np.zeros(0)
    parts = world.gather((each, torch.cat(confusions).cpu().numpy(), torch.cat(kept)[:examples].cpu().numpy(), seconds))
    return Evaluation(
        loss=float(np.concatenate([part[0] for part in parts]).sum()) / count,
        confusion_NCC=np.concatenate([part[1] for part in parts]),
        examples=np.concatenate([part[2] for part in parts])[:examples],
        predict_seconds=max(part[3] for part in parts),
    )


def confusion(masks_BHW: Tensor, predicted_BHW: Tensor, classes: int) -> Tensor:
    """Return integer confusion matrices (B, C, C), truth in rows; ignored pixels are left out."""
    batch = len(masks_BHW)
    cells = (torch.arange(batch, device=masks_BHW.device).view(-1, 1, 1) * classes + masks_BHW) * classes + predicted_BHW
    counted = cells[masks_BHW != IGNORE]
    return torch.bincount(counted, minlength=batch * classes * classes).view(batch, classes, classes)
