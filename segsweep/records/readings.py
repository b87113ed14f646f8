"""Readings of trials in the measure of `keep`, from the recorded epochs."""

import pandas as pd

from segsweep.config.keep import Reading, reading
from segsweep.config.setting_fields import DEFAULT_KEEP


def curves_of(trials: pd.DataFrame, epochs: pd.DataFrame, *phases: str) -> dict[str, dict[int, Reading]]:
    """Return the readings by trial id and epoch of all trials in the given phases ("tune", "confirm")."""
    keeps = dict(zip(trials["trial_id"], trials["keep"].fillna(DEFAULT_KEEP), strict=True))
    curves: dict[str, dict[int, Reading]] = {}
    epochs = epochs[epochs["phase"].isin(phases)].dropna(subset=["val_loss"])
    columns = (epochs[name] for name in ("trial_id", "epoch", "val_iou", "val_loss", "val_dice"))
    for trial, epoch, val_iou, val_loss, val_dice in zip(*columns, strict=True):
        found = reading(keeps[trial], val_iou=val_iou, val_loss=val_loss, val_dice=val_dice)
        curves.setdefault(trial, {})[int(epoch)] = found
    return curves
