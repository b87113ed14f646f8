"""Sentences on the method of a study's numbers: the measure that decided, the classes of IoU, the size of the masks."""

from collections.abc import Iterator

import pandas as pd

from segsweep.config.setting_fields import DEFAULT_KEEP
from segsweep.config.work import TRIAL_VERSION
from segsweep.records.study_records import Records
from segsweep.report.cells import confirmed_runs

KEEP_SINCE = 3  # first method version in which the setting `keep` decides
BEFORE_KEEP = (
    "in which epochs were chosen by validation loss and settings by one reading of validation IoU; IoU, F1, precision and recall "
    "of a two-class target are those of its second class, otherwise means over the classes that truth or prediction shows"
)
BEFORE_NORMALISATION = "in which input normalisation was ImageNet's or that of the training images, never the source's"
BEFORE_RECIPES = (
    "in which DeepLabV3+ had atrous rates 12, 24 and 36, median-frequency weights divided by the pixels of all images, and "
    "SimCLR had another projection head and, on images up to 64 px, another stem"
)
EARLIER = {1: BEFORE_KEEP, 2: BEFORE_KEEP, 3: BEFORE_NORMALISATION, 4: BEFORE_RECIPES}  # method version -> its difference
NAMES = {"val_iou": "validation IoU", "val_loss": "validation loss", "val_dice": "validation Dice"}
MEASURES = {  # value of `keep` -> the column that it reads, and the measure in words
    "val_iou": ("val_iou", "validation IoU (ties: by the lower loss)"),
    "val_loss": ("val_loss", "validation loss"),
    "val_dice": ("val_dice", "mean validation Dice over images"),
    "last": ("val_iou", "validation IoU"),
}


def method_lines(records: Records) -> list[str]:
    """Return lines on the classes of the headline metrics, the measure that decided, and earlier methods of confirmed runs."""
    runs = confirmed_runs(records)
    versions = runs["method_version"]
    decided = runs[versions >= KEEP_SINCE]
    lines = [_headline(decided), *_choices(decided)] if runs.empty or len(decided) else []
    for version in sorted(set(versions[versions < TRIAL_VERSION].tolist())):
        count = int((versions == version).sum())
        made = f"{count} of {len(runs)} confirmed runs were made by an earlier method (version {version})"
        lines.append(f"{made}, {EARLIER[int(version)]}.")
    return lines


def absent_lines(records: Records) -> list[str]:
    """Return a line on the classes that no test image shows; one per fold where folds differ."""
    absent = confirmed_runs(records)[["absent_classes", "test_images"]].dropna().drop_duplicates()
    return [_absent_line(names, int(images)) for names, images in absent.itertuples(index=False)]


def _absent_line(names: str, images: int) -> str:
    shown = "The only test image does not show" if images == 1 else f"None of the {images} test images shows"
    return f"{shown} {names}: {'their' if ', ' in names else 'its'} IoU is undefined and left out of means."


def protocol_line(records: Records) -> str:
    """Return a line on the computation of metrics: the counted pixels, the size of the masks, and the averages."""
    trials = records.trials
    sizes = set(trials["test_size"].dropna()) if "test_size" in trials else set()  # older records lack this column
    if sizes == {"original"}:
        size = "the masks' original sizes (validation and losses: at image_px)"
    elif "original" in sizes:
        size = "image_px, or with test_size=original at the masks' original sizes (validation and losses: at image_px)"
    else:
        size = "image_px"
    return (
        f"Protocol: integer counts over the whole split at {size}, ignored pixels left out; accuracy: share of correct pixels; "
        "Dice and boundary_f (within 0.75 % of the diagonal): means over images; losses: means over images, computed per image."
    )


def _headline(runs: pd.DataFrame) -> str:
    named = ", ".join(map(repr, runs["foreground"].dropna().unique()))
    classes = f"those of the foreground, {named}" if named else "means over the classes that the split's ground truth shows"
    return f"IoU, F1, precision, recall: {classes}; from the whole split's counts."


def _choices(runs: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence per value of `keep` on the measure that chose epochs and settings."""
    groups = list(runs.groupby(runs["keep"].fillna(DEFAULT_KEEP), sort=False))
    for keep, group in groups:
        column, measure = MEASURES[str(keep)]
        if group[column].isna().all():
            measure = f"validation loss, since {NAMES[column]} is undefined"
        which = f"With keep={keep} " if len(groups) > 1 else ""
        if keep == "last":
            line = f"runs keep their last epoch; settings are chosen by {measure}, its mean over the last three epochs."
        else:
            line = f"epochs are chosen by {measure}, settings by its mean over the last three epochs."
        yield which + line if which else line[0].upper() + line[1:]
