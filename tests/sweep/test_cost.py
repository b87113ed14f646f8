"""Predicted durations of trials, with invented speeds and sizes of datasets."""

from pathlib import Path

import pytest
from studies import plan_of, small_study

from segsweep.store.folder import FolderStore
from segsweep.sweep.cost import SECONDS_PER_RUN, CostModel

TRAIN_SPEED, PREDICT_SPEED = 10.0, 40.0  # images per second
TRAIN, VAL, TEST, SOURCE_VAL = 60, 20, 16, 30  # images


class Sizes:
    """The sizes that a catalog reports."""

    def __init__(self, folder: Path) -> None:
        self.store = FolderStore(folder)

    def classes(self, *_):
        return ("background", "pet")

    def target_sizes(self, *_):
        return TRAIN, VAL, TEST

    def source_sizes(self, *_):
        return 100, SOURCE_VAL


@pytest.fixture
def price(tmp_path):
    """Return a function that prices one trial of a cell with some fixed settings, with or without its test."""

    def seconds(tested, source="supervised:voc2012", **fixed):
        study = small_study(compare={"source": [source]}, fixed={"epochs": 4, "precision": "float32", **fixed})
        plan = plan_of(study)
        costs = CostModel(plan, Sizes(tmp_path), None, lambda *_: (TRAIN_SPEED, PREDICT_SPEED), print)
        return costs.trial(plan.cells[0].settings, tested)

    return seconds


def test_a_trial_trains_and_validates_each_epoch_and_tests_once(price):
    """The price counts the training images of all epochs, a validation after each, and the test of a confirmed run."""
    tuning = SECONDS_PER_RUN + 4 * TRAIN / TRAIN_SPEED + 4 * VAL / PREDICT_SPEED
    assert price(tested=False) == pytest.approx(tuning)
    assert price(tested=True) == pytest.approx(tuning + TEST / PREDICT_SPEED)
    assert price(tested=False, fraction=0.5) == pytest.approx(tuning - 4 * TRAIN / 2 / TRAIN_SPEED)
    assert price(tested=False, augmentation="flip", augmented_copies=1) == pytest.approx(tuning + 4 * TRAIN / TRAIN_SPEED)


def test_a_domain_shift_predicts_the_test_again_and_the_source_twice(price):
    """Only a confirmed run measures a domain shift: the source model on the test images, and both models on the source's own."""
    shifted = price(tested=True, domain_shift="on") - price(tested=True)
    assert shifted == pytest.approx((TEST + 2 * SOURCE_VAL) / PREDICT_SPEED)
    assert price(tested=False, domain_shift="on") == price(tested=False)
