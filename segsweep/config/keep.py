"""The measure that decides: which epoch of a run is kept, which trials stop early, and which setting a cell chooses."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Literal, NamedTuple

Keep = Literal["val_iou", "val_loss", "val_dice", "last"]
SMOOTHED = 3  # readings, the last of a run, whose mean a setting is chosen by


class Reading(NamedTuple):
    """What validation after one epoch says by the measure that decides. Readings compare: the greater one is better.

    `value` is the measure, higher better, a loss with its sign changed; `tie` decides between equal ones.
    """

    value: float
    tie: float = 0.0


def reading(keep: str, *, val_iou: float, val_loss: float, val_dice: float) -> Reading:
    """Return the reading of one epoch.

    `val_iou`: the validation IoU over the split's counts, equal ones by the lower loss; `val_loss`: the validation loss;
    `val_dice`: the mean over the validation images; `last` reads the IoU too, and keeps the last epoch. A measure that the split
    does not define, as the IoU of a split without foreground, gives way to the loss; it does so in all epochs of all trials on
    this split, so that readings stay comparable.
    """
    measure = {"val_iou": val_iou, "last": val_iou, "val_dice": val_dice, "val_loss": -val_loss}[keep]
    return Reading(-val_loss if math.isnan(measure) else measure, -val_loss)


def smoothed(readings: Sequence[Reading]) -> Reading:
    """Return the mean of a run's last readings, up to three: one reading is too noisy to choose a setting by."""
    last = readings[-SMOOTHED:]
    return Reading(fmean(each.value for each in last), fmean(each.tie for each in last))
