"""Predicted durations of trials, with invented speeds and sizes of datasets."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from studies import plan_of, small_study

from segsweep.config import PerCellRacing
from segsweep.store.contents import SPEEDS
from segsweep.store.folder import FolderStore
from segsweep.sweep.cost import CostModel
from segsweep.sweep.speeds import DISTURBED, PROBED, RESULT_BUILDS, SCALED, TEST_FACTOR
from segsweep.tasks.trial_task import TrialTask
from segsweep.training.device import Device
from segsweep.training.timings import AGE_DAYS, Probe, TaskTimes, Timings, TuningShare

TRAIN_SPEED, PREDICT_SPEED, BUILD = 10.0, 40.0, 0.5  # images per second, seconds
TRAIN, VAL, TEST, SOURCE_VAL = 60, 20, 16, 30  # images
PROBE = Probe(1 / TRAIN_SPEED, 1 / PREDICT_SPEED, at=time.time(), build_seconds=BUILD, cpu_share=1.0)
RESULTS = 1 + 4  # of a trial of four epochs; building counts as one


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
def costs(tmp_path):
    """Return a function that returns the cost model of a study on a device whose probe is given."""

    def model(study, probe=PROBE, known=None):
        if known is not None:
            FolderStore(tmp_path).text(SPEEDS).write(known.as_text())
        found = CostModel(plan_of(study), Sizes(tmp_path), Device("cpu", 1), lambda *_: probe, print)
        found.speeds.free_share = 1.0
        return found

    return model


@pytest.fixture
def price(costs):
    """Return a function that prices one trial of a cell with some fixed settings, with or without its test."""

    def seconds(tested, source="supervised:voc2012", **fixed):
        study = small_study(compare={"source": [source]}, fixed={"epochs": 4, "precision": "float32", **fixed})
        return costs(study).trial(plan_of(study).cells[0].settings, tested)

    return seconds


def tuning_trial(study):
    """Return the task of the first tuning trial of a study."""
    return TrialTask(plan_of(study).cells[0].tuning[0])


def test_a_trial_trains_and_validates_each_epoch_and_tests_once(price):
    """The price counts the training images of all epochs, a validation after each, and the test of a confirmed run."""
    tuning = RESULTS * RESULT_BUILDS * BUILD + 4 * TRAIN / TRAIN_SPEED + 4 * VAL / PREDICT_SPEED
    assert price(tested=False) == pytest.approx(tuning)
    assert price(tested=True) == pytest.approx(tuning + TEST_FACTOR * TEST / PREDICT_SPEED)
    assert price(tested=False, fraction=0.5) == pytest.approx(tuning - 4 * TRAIN / 2 / TRAIN_SPEED)
    assert price(tested=False, augmentation="flip", augmented_copies=1) == pytest.approx(tuning + 4 * TRAIN / TRAIN_SPEED)


def test_a_domain_shift_predicts_the_test_again_and_the_source_twice(price):
    """Only a confirmed run measures a domain shift: the source model on the test images, and both models on the source's own."""
    shifted = price(tested=True, domain_shift="on") - price(tested=True)
    assert shifted == pytest.approx(TEST_FACTOR * (TEST + 2 * SOURCE_VAL) / PREDICT_SPEED)
    assert price(tested=False, domain_shift="on") == price(tested=False)


def test_times_of_real_tasks_correct_a_probe_from_a_busy_moment(costs):
    """A probe of 0.44 images/s prices a study at hours; after a run the same trial costs what it took, within a narrow range."""
    study = small_study()
    lie = replace(PROBE, train_seconds=1 / 0.44)
    before = costs(study, lie)
    task = tuning_trial(study)
    key = before.key(task).text
    assert before.seconds(task) > 4 * TRAIN / 0.44
    took = TaskTimes(16, 0.1, 0.02, 0.3, 0.4, 1.05, time.time())
    after = costs(study, lie, Timings({key: lie}).with_run(Timings(tasks={key: took})))
    assert after.seconds(task) == pytest.approx(4 * (TRAIN * 0.1 + VAL * 0.02) + RESULTS * 0.3)
    wide, narrow = (model.speeds.of(model.key(task)).factor for model in (before, after))
    assert narrow < wide


def test_old_times_are_not_used(costs):
    """Times of real tasks older than `AGE_DAYS` do not price a trial: the probe does."""
    study, task = small_study(), tuning_trial(small_study())
    old = TaskTimes(16, 9.0, 9.0, 9.0, 9.0, 1.0, time.time() - (AGE_DAYS + 1) * 86_400)
    fresh = costs(study).seconds(task)
    assert costs(study, known=Timings(tasks={costs(study).key(task).text: old})).seconds(task) == fresh


def test_real_tasks_scale_the_probes_of_other_work(costs):
    """If real tasks took 1.4 times as long as their probe, a trial at another size costs 1.4 times its own probe."""
    known, other = small_study(), small_study(fixed={"epochs": 4, "precision": "float32", "image_px": 128})
    key = costs(known).key(tuning_trial(known)).text
    timings = Timings({key: PROBE}, {key: TaskTimes(16, 0.14, 0.02, 0.0, None, 1.0, time.time())})
    speed = costs(other, known=timings).speeds.of(costs(other).key(tuning_trial(other)))
    assert speed.train == pytest.approx(1.4 / TRAIN_SPEED)
    assert speed.factor == SCALED


def test_a_disturbed_probe_counts_with_its_cpu_time_and_a_wide_range(costs):
    """A probe whose thread got a quarter of a core is four times too slow: its CPU time prices the trial."""
    study = small_study()
    task = tuning_trial(study)
    calm, busy = costs(study), costs(study, replace(PROBE, train_seconds=4 / TRAIN_SPEED, cpu_share=0.25))
    assert busy.speeds.of(busy.key(task)).train == pytest.approx(calm.speeds.of(calm.key(task)).train)
    assert busy.speeds.of(busy.key(task)).factor == DISTURBED > calm.speeds.of(calm.key(task)).factor == PROBED


def test_the_share_of_tuning_epochs_comes_from_records_else_from_the_rule(costs):
    """Without stopping it is 1; with a rule it is a guess from at least one whole trial to all; a recorded share replaces it."""
    assert costs(small_study(early_stopping=None)).tuning_share.expected == 1.0
    study = small_study(early_stopping=PerCellRacing())
    model, task = costs(study), tuning_trial(study)
    guess = model.tuning_share
    assert 1 / 4 < guess.low < guess.expected < guess.high == 1.0
    equal, any_range = model.share_keys
    known = TuningShare(0.4, 32, time.time())
    recorded = costs(study, known=Timings(tuning={equal: known, any_range: replace(known, share=0.9)}))
    assert recorded.tuning_share.expected == 0.4
    assert recorded.tuning_share.high < guess.high
    of_other_ranges = costs(study, known=Timings(tuning={any_range: known}))
    assert (of_other_ranges.tuning_share.expected, of_other_ranges.tuning_share.high) == (0.4, 1.0)
    assert recorded.estimate(task).expected == pytest.approx(0.4 * recorded.seconds(task))
    confirmed = TrialTask(plan_of(study).cells[0].confirm(plan_of(study).cells[0].settings)[0])
    assert recorded.estimate(confirmed).expected == recorded.seconds(confirmed)
