"""The contract of every stopping rule, and each rule on curves with a known answer."""

import math
import random

import pytest
from contracts.early_stopping import EPOCHS, EarlyStoppingContract, report, report_curve

from segsweep.config import PerCellASHA, PerCellMedian, PerCellRacing
from segsweep.config.early_stopping import RULES
from segsweep.config.keep import Reading
from segsweep.errors import UserError
from segsweep.sweep.early_stopping import PerCellStopping, reading_error


class TestNoRule(EarlyStoppingContract):
    """A study without early stopping."""

    settings = None


class TestAsha(EarlyStoppingContract):
    """Asynchronous successive halving."""

    settings = PerCellASHA(grace_epochs=2, reduction_factor=2)


class TestMedian(EarlyStoppingContract):
    """The median stopping rule."""

    settings = PerCellMedian(grace_epochs=2, min_trials=2)


class TestRacing(EarlyStoppingContract):
    """Racing without a margin: any lead beyond the error of readings counts."""

    settings = PerCellRacing(margin=0.0, grace_epochs=2)


def test_every_rule_has_its_contract() -> None:
    """Every rule that a command line can name is tested by a contract class above."""
    tested = {type(kit.settings) for kit in EarlyStoppingContract.__subclasses__()}
    assert tested == {type(None), *RULES.values()}


def test_asha_stops_below_the_best_third_of_its_rung() -> None:
    """With a factor of three, the fourth trial at a rung continues only if it is the best of four."""
    stopping = PerCellStopping(PerCellASHA(1, 3))
    readings = (("a", 0.5), ("b", 0.4), ("c", 0.6), ("d", 0.55))
    assert [report(stopping, name, 1, value) for name, value in readings] == [True, False, True, False]


def test_asha_continues_the_best_two_of_six() -> None:
    """With six reports at a rung, the best third is two trials."""
    stopping = PerCellStopping(PerCellASHA(1, 3))
    for name, value in (("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 0.4), ("e", 0.9)):
        report(stopping, name, 1, value)
    assert report(stopping, "f", 1, 0.8)


def test_asha_stops_nothing_between_rungs() -> None:
    """Rungs are the grace period and its multiples by the factor; at other epochs every trial continues."""
    stopping = PerCellStopping(PerCellASHA(2, 3))
    for epoch in (1, 2, 6):
        report(stopping, "good", epoch, 0.9)
    assert [report(stopping, "bad", epoch, 0.1) for epoch in (1, 3, 5, 7)] == [True] * 4
    assert not report(stopping, "bad", 6, 0.1)


def test_the_median_rule_compares_with_running_averages() -> None:
    """A trial stops if its best reading is below the median of the others' running averages, once there are enough."""
    stopping = PerCellStopping(PerCellMedian(grace_epochs=2, min_trials=3))
    for name, values in (("a", (0.2, 0.4)), ("b", (0.4, 0.6)), ("c", (0.6, 0.8))):
        assert [report(stopping, name, epoch, value) for epoch, value in enumerate(values, start=1)] == [
            True,
            True,
        ]
    assert report(stopping, "d", 1, 0.1)
    assert not report(stopping, "d", 2, 0.45)  # the median of 0.3, 0.5, 0.7 is 0.5
    report(stopping, "e", 1, 0.55)
    assert report(stopping, "e", 2, 0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PerCellASHA(0, 3),
        lambda: PerCellASHA(1, 1),
        lambda: PerCellASHA(1.5, 3),  # type: ignore[arg-type]
        lambda: PerCellMedian(0, 3),
        lambda: PerCellMedian(1, 0),
        lambda: PerCellRacing(-0.1),
        lambda: PerCellRacing(math.nan),
        lambda: PerCellRacing(0.1, -0.01),
        lambda: PerCellRacing(0.1, 0.01, 0),
    ],
)
def test_impossible_settings_are_rejected(make: object) -> None:
    """Invalid periods and factors are errors when the study is built."""
    with pytest.raises(UserError, match="needs"):
        make()  # type: ignore[operator]


def report_all(stopping: PerCellStopping, curves: dict[str, list[float]]) -> dict[str, bool]:
    """Report whole curves one after another, and return for each trial whether it continues after its last epoch."""
    return {name: report_curve(stopping, name, values)[-1] for name, values in curves.items()}


@pytest.mark.parametrize(("behind", "goes_on"), [(0.059, True), (0.061, False)])
@pytest.mark.parametrize("epoch", [1, 2, 3, 5, 10])
def test_racing_stops_a_trial_behind_by_more_than_the_margin(epoch: int, behind: float, goes_on: bool) -> None:
    """Without noise, the margin is 0.006 times planned epochs by completed epochs: 0.06 after one of ten, 0.006 after all."""
    stopping = PerCellStopping(PerCellRacing(margin=0.006))
    leader = [0.3 + 0.02 * at for at in range(EPOCHS)]
    report_all(stopping, {"a": leader})
    assert report_all(stopping, {"b": [value - behind / epoch for value in leader[:epoch]]})["b"] == goes_on


def test_racing_compares_means_of_three_readings() -> None:
    """One bad reading does not stop a trial that was level before: the mean of the last three readings decides."""
    stopping = PerCellStopping(PerCellRacing(margin=0.006))
    report_all(stopping, {"a": [0.5] * EPOCHS})
    assert report_all(stopping, {"b": [0.5, 0.5, 0.5, 0.46]})["b"]  # behind by 0.04, its mean by 0.0133; the margin is 0.015
    assert not report_all(stopping, {"c": [0.5, 0.5, 0.5, 0.44]})["c"]  # its mean by 0.02


def test_racing_compares_at_the_last_epoch_of_both() -> None:
    """A trial that is ahead is compared at the last epoch that both have, so that parallel trials stop each other, too."""
    stopping = PerCellStopping(PerCellRacing(margin=0.006))
    assert report(stopping, "a", 1, 0.1)
    assert report(stopping, "b", 1, 0.5)
    assert not report(stopping, "a", 2, 0.6)  # the epoch that it reports first


@pytest.mark.parametrize(("status", "goes_on"), [("stopped", True), ("finished", False)])
def test_racing_leaves_one_running(status: str, goes_on: bool) -> None:
    """A stopped trial stops no other, so that the last trial finishes whatever its readings; a finished trial does."""
    stopping = PerCellStopping(PerCellRacing(margin=0.0))
    report_all(stopping, {"a": [0.5, 0.9]})
    stopping.ended("cell", "a", status)
    assert report_all(stopping, {"b": [0.5, 0.1, 0.1]})["b"] == goes_on


@pytest.mark.parametrize(("behind", "goes_on"), [(0.9, True), (1.1, False)])
def test_racing_allows_for_the_error_of_readings(behind: float, goes_on: bool) -> None:
    """In addition to the margin, a trial may lag by one standard error: the declared one, until readings give an estimate."""
    declared = PerCellStopping(PerCellRacing(margin=0.0, reading_error=0.02))
    report_all(declared, {"a": [0.5]})
    assert report_all(declared, {"b": [0.5 - behind * 0.02 * math.sqrt(2)]})["b"] == goes_on
    noisy = PerCellStopping(PerCellRacing(margin=0.0, reading_error=9.0))
    waves = [0.5 + 0.01 * (-1) ** at for at in range(9)]  # second differences of 0.04
    report_all(noisy, {"a": waves})
    lag = behind * 0.04 / (0.6745 * math.sqrt(6)) * math.sqrt(2 / 3)
    assert report_all(noisy, {"b": [value - lag for value in waves]})["b"] == goes_on


def test_the_error_of_readings_is_that_of_their_noise() -> None:
    """The estimate is the standard deviation of the noise, whatever the slope; None for too few or undefined readings."""
    rng = random.Random(2)
    noise = [{at: Reading(0.01 * at + rng.gauss(0, 0.03)) for at in range(1, 31)} for _ in range(200)]
    assert reading_error(noise) == pytest.approx(0.03, rel=0.05)
    assert reading_error([{1: Reading(0.1), 2: Reading(0.5), 4: Reading(0.1)}] * 9) is None
    assert reading_error([dict.fromkeys(range(9), Reading(math.nan))]) is None


def test_a_rerun_trial_races_with_its_new_curve() -> None:
    """Its old curve is removed, and it stops others like any trial that was not stopped."""
    stopping = PerCellStopping(PerCellRacing(margin=0.0))
    report_all(stopping, {"a": [0.1, 0.1]})
    stopping.ended("cell", "a", "stopped")
    stopping.reopened("cell", "a")
    assert stopping.curve("cell", "a") == []
    report_all(stopping, {"a": [0.9]})
    assert not report_all(stopping, {"b": [0.5]})["b"]
