"""The readings of trials by the measure that decides, from their epochs in the records."""

from segsweep.config.keep import Reading, reading
from segsweep.config.settings import DEFAULT_KEEP
from segsweep.records.reader import Records


def curves_of(records: Records, *phases: str) -> dict[str, dict[int, Reading]]:
    """Return the readings of all trials of some phases ("tune", "confirm") by their epochs."""
    keeps = dict(zip(records.trials["trial_id"], records.trials["keep"].fillna(DEFAULT_KEEP), strict=True))
    curves: dict[str, dict[int, Reading]] = {}
    epochs = records.epochs[records.epochs["phase"].isin(phases)].dropna(subset=["val_loss"])
    columns = (epochs[name] for name in ("trial_id", "epoch", "val_iou", "val_loss", "val_dice"))
    for trial, epoch, val_iou, val_loss, val_dice in zip(*columns, strict=True):
        found = reading(keeps[trial], val_iou=val_iou, val_loss=val_loss, val_dice=val_dice)
        curves.setdefault(trial, {})[int(epoch)] = found
    return curves
