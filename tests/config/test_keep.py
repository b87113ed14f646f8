"""The measure of the setting `keep`."""

import math

import pytest

from segsweep.config.keep import Reading, reading, smoothed

MEASURED = {"val_iou": 0.5, "val_loss": 0.7, "val_dice": 0.6}


@pytest.mark.parametrize(("keep", "value"), [("val_iou", 0.5), ("val_loss", -0.7), ("val_dice", 0.6), ("last", 0.5)])
def test_a_reading_is_its_measure(keep, value):
    """Each value of `keep` reads its measure, higher is better; `last` reads the IoU."""
    assert reading(keep, **MEASURED) == Reading(value, -0.7)


@pytest.mark.parametrize("keep", ["val_iou", "val_dice", "last"])
def test_an_undefined_measure_gives_way_to_the_loss(keep):
    """If the IoU or Dice of a split is undefined, the lower loss is the better reading, and no reading is NaN."""
    undefined = {"val_iou": math.nan, "val_dice": math.nan}
    better, worse = (reading(keep, **undefined, val_loss=loss) for loss in (0.2, 0.4))
    assert better > worse
    assert not any(map(math.isnan, (*better, *worse)))


def test_equal_measures_are_decided_by_the_loss():
    """Of two epochs with the same IoU, the one with the lower loss is better."""
    assert reading("val_iou", **MEASURED) > reading("val_iou", **{**MEASURED, "val_loss": 0.8})
    assert reading("val_iou", **MEASURED) < reading("val_iou", **{**MEASURED, "val_iou": 0.51, "val_loss": 9.0})


def test_the_last_three_readings_are_averaged():
    """A run counts by the mean of its last three readings, or of all if it has fewer."""
    run = [Reading(value, -value) for value in (0.9, 0.1, 0.2, 0.6)]
    assert smoothed(run) == pytest.approx(Reading(0.3, -0.3))
    assert smoothed(run[:2]) == pytest.approx(Reading(0.5, -0.5))
    assert smoothed(run[:1]) == run[0]
