"""The measure of the setting `keep`: it selects the best epoch of a run, stops trials early and chooses the setting of a cell."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Literal, NamedTuple

Keep = Literal["val_iou", "val_loss", "val_dice", "last"]
SMOOTHED = 3  # last readings of a run whose mean decides the choice of a setting


class Reading(NamedTuple):
    """Validation result of one epoch in the measure of `keep`. Readings compare: the greater one is better.

    `value` is the measure, higher is better (a loss has its sign changed); `tie` decides between equal values.
    """

    value: float
    tie: float = 0.0


def reading(keep: str, *, val_iou: float, val_loss: float, val_dice: float) -> Reading:
    """Return the reading of one epoch.

    If the split does not define the measure, for instance the IoU of a split without foreground, the negative loss replaces it.
    The loss then replaces it in all epochs of all trials on this split, so readings stay comparable.

    Args:
        keep: `val_iou`, `val_loss`, `val_dice` or `last`; `last` compares by IoU, and keeps the last epoch.
        val_iou: Validation IoU computed from the pixel counts of the whole split; the lower loss decides between equal values.
        val_loss: Validation loss.
        val_dice: Mean Dice coefficient over the validation images.
    """
    measure = {"val_iou": val_iou, "last": val_iou, "val_dice": val_dice, "val_loss": -val_loss}[keep]
    return Reading(-val_loss if math.isnan(measure) else measure, -val_loss)


def smoothed(readings: Sequence[Reading]) -> Reading:
    """Return the mean of the last readings of a run, at most three: a single reading is too noisy to choose a setting."""
    last = readings[-SMOOTHED:]
    return Reading(fmean(each.value for each in last), fmean(each.tie for each in last))
