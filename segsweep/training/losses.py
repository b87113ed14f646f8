"""Losses, by name: each takes logits (B, C, H, W) and masks (B, H, W) and returns a scalar."""

from collections.abc import Callable, Mapping

import torch
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor
from torch.nn import functional

from segsweep.data.dataset import IGNORE
from segsweep.training.world import World

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return the mean cross-entropy over the pixels that are not ignored; 0 where all are.

    The background counts as any other class.
    """
    total = functional.cross_entropy(logits_BCHW, mask_BHW, ignore_index=IGNORE, reduction="sum")
    return total / (mask_BHW != IGNORE).sum().clamp(min=1)


def dice(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return one minus the soft Dice coefficient over the batch, ignored pixels left out (smp.losses.DiceLoss).

    With two classes it is the foreground's; with more, the mean over the classes, those absent from the batch counting 0.
    """
    classes = [1] if logits_BCHW.shape[1] == 2 else None
    loss: Tensor = DiceLoss("multiclass", classes=classes, ignore_index=IGNORE)(logits_BCHW, mask_BHW)
    return loss.to(torch.float32)


LOSSES: Mapping[str, Loss] = {"cross_entropy": cross_entropy, "dice": dice}
PIXEL_MEANS = ("cross_entropy",)  # losses that are means over the pixels, so that processes can add up their parts


def shared_loss(name: str, logits_BCHW: Tensor, mask_BHW: Tensor, count: int, world: World) -> tuple[Tensor, Tensor]:
    """Return what one process backpropagates for its share of a batch of `count` pictures, and its part of the batch's loss.

    The parts of all processes add up to the loss of the whole batch, and the gradients that `World.parallel` averages to
    its gradient.
    """
    if world.size == 1:
        loss = LOSSES[name](logits_BCHW, mask_BHW)
        return loss, loss.detach()
    if name in PIXEL_MEANS:
        pixels = (mask_BHW != IGNORE).sum()
        part = LOSSES[name](logits_BCHW, mask_BHW) * pixels / world.total(pixels).clamp(min=1)
        return part * world.size, part.detach()
    whole = LOSSES[name](world.gather_rows(logits_BCHW, count), world.gather_rows(mask_BHW, count))
    return whole * world.size, whole.detach() / world.size
