"""The lines below a table on the method of its numbers."""

from dataclasses import replace

import numpy as np
import pytest
from text_lines import unwrapped

from segsweep.config.work import TRIAL_VERSION
from segsweep.records import Records
from segsweep.report.text import table_text


def changed(records: Records, **columns: object) -> str:
    """Return the table of a study whose trials have other values in some columns."""
    return unwrapped(table_text(replace(records, trials=records.trials.assign(**columns))))


def test_runs_of_an_earlier_method_are_not_described_by_the_present_one(records: Records) -> None:
    """Runs of version 1 were chosen by validation loss, and their metrics are those of the second class; a line states this."""
    text = changed(records, method_version=1, foreground=None, keep=None)
    assert (
        "8 of 8 confirmed runs were made by an earlier method (version 1), in which epochs were chosen by validation loss" in text
    )
    assert "two-class target are those of its second class" in text
    assert "last three epochs" not in text
    assert "that the split's ground truth shows" not in text


def test_an_earlier_method_in_which_keep_decided_is_named(records: Records) -> None:
    """Runs of version 3 were chosen in the same way but normalised differently; those of the present version have no such
    line."""
    text = changed(records, method_version=[3, TRIAL_VERSION] * 8)
    assert "(version 3), in which input normalisation was ImageNet's" in text
    assert "last three epochs" in text
    assert "earlier method" not in table_text(records)
    assert "(version 4), in which DeepLabV3+ had atrous rates 12, 24 and 36" in changed(records, method_version=4)


@pytest.mark.parametrize(
    ("keep", "undefined", "expected"),
    [
        ("val_iou", [], "Epochs are chosen by validation IoU (ties: by the lower loss), settings by its mean over the last"),
        ("val_iou", ["val_iou"], "Epochs are chosen by validation loss, since validation IoU is undefined, settings by"),
        ("val_dice", ["val_iou"], "Epochs are chosen by mean validation Dice over images, settings by its mean over the last"),
        ("val_loss", ["val_iou"], "Epochs are chosen by validation loss, settings by its mean over the last three epochs."),
        ("last", ["val_iou"], "Runs keep their last epoch; settings are chosen by validation loss, since validation IoU is"),
    ],
)
def test_the_measure_that_decided_is_named(records: Records, keep: str, undefined: list[str], expected: str) -> None:
    """The table names the measure of `keep`, and the loss only where that measure is undefined."""
    assert expected in changed(records, keep=keep, **dict.fromkeys(undefined, np.nan))


def test_several_measures_have_a_line_each(records: Records) -> None:
    """If runs differ in `keep`, each line states its value of `keep`."""
    text = changed(records, keep=["val_iou", "last"] * 8)
    assert "With keep=val_iou epochs are chosen by validation IoU" in text
    assert "With keep=last runs keep their last epoch" in text


def test_the_size_of_the_test_masks_is_named(records: Records) -> None:
    """The protocol names image_px, or the masks' original sizes if the tests used them."""
    assert "over the whole split at image_px, ignored" in changed(records, test_size="image_px")
    assert "over the whole split at the masks' original sizes (validation and losses: at image_px)," in changed(
        records, test_size="original"
    )
    older = replace(records, trials=records.trials.drop(columns="test_size"))
    assert "over the whole split at image_px, ignored" in unwrapped(table_text(older))
    mixed = changed(records, test_size=["image_px", "original"] * 8)
    assert "at image_px, or with test_size=original at the masks' original sizes" in mixed
