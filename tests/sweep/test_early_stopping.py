"""The stopping rules against curves whose answer is plain."""

import pytest

from segsweep.config import PerCellASHA, PerCellMedian
from segsweep.config.keep import Reading
from segsweep.errors import UserError
from segsweep.sweep.early_stopping import PerCellStopping


def test_asha_stops_below_the_best_third_of_its_rung() -> None:
    """With a factor of three, the fourth trial at a rung goes on only if it is the best of four."""
    stopping = PerCellStopping(PerCellASHA(1, 3))
    assert [
        stopping.report("cell", name, 1, Reading(value)) for name, value in (("a", 0.5), ("b", 0.4), ("c", 0.6), ("d", 0.55))
    ] == [
        True,
        False,
        True,
        False,
    ]


def test_asha_lets_the_best_two_of_six_go_on() -> None:
    """With six reports at a rung, the best third is two trials."""
    stopping = PerCellStopping(PerCellASHA(1, 3))
    for name, value in (("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 0.4), ("e", 0.9)):
        stopping.report("cell", name, 1, Reading(value))
    assert stopping.report("cell", "f", 1, Reading(0.8))


def test_asha_says_nothing_between_rungs() -> None:
    """Rungs are the grace period and its multiples by the factor; at other epochs every trial goes on."""
    stopping = PerCellStopping(PerCellASHA(2, 3))
    for epoch in (1, 2, 6):
        stopping.report("cell", "good", epoch, Reading(0.9))
    assert [stopping.report("cell", "bad", epoch, Reading(0.1)) for epoch in (1, 3, 5, 7)] == [True] * 4
    assert not stopping.report("cell", "bad", 6, Reading(0.1))


def test_cells_do_not_see_each_other() -> None:
    """The worst trial of the study goes on where it is the best of its cell."""
    stopping = PerCellStopping(PerCellASHA(1, 2))
    assert stopping.report("strong", "a", 1, Reading(0.9))
    assert stopping.report("weak", "b", 1, Reading(0.1))
    assert not stopping.report("strong", "c", 1, Reading(0.5))


def test_a_repeated_report_changes_nothing() -> None:
    """A resumed trial reports old epochs again and gets the same answer."""
    stopping = PerCellStopping(PerCellASHA(1, 2))
    first = [stopping.report("cell", name, 1, Reading(value)) for name, value in (("a", 0.5), ("b", 0.6))]
    again = [stopping.report("cell", name, 1, Reading(value)) for name, value in (("a", 0.5), ("b", 0.6))]
    assert first == [True, True]
    assert again[1]


def test_the_median_rule_compares_with_running_averages() -> None:
    """A trial stops when its best so far is below the median of the others' averages, once enough are there."""
    stopping = PerCellStopping(PerCellMedian(grace_epochs=2, min_trials=3))
    for name, values in (("a", (0.2, 0.4)), ("b", (0.4, 0.6)), ("c", (0.6, 0.8))):
        assert [stopping.report("cell", name, epoch, Reading(value)) for epoch, value in enumerate(values, start=1)] == [
            True,
            True,
        ]
    assert stopping.report("cell", "d", 1, Reading(0.1))
    assert not stopping.report("cell", "d", 2, Reading(0.45))  # the median of 0.3, 0.5, 0.7 is 0.5
    stopping.report("cell", "e", 1, Reading(0.55))
    assert stopping.report("cell", "e", 2, Reading(0.1))


def test_no_rule_stops_nothing() -> None:
    """A study without early stopping lets every trial run to its end."""
    stopping = PerCellStopping(None)
    stopping.report("cell", "a", 1, Reading(0.9))
    assert stopping.report("cell", "b", 1, Reading(0.0))


@pytest.mark.parametrize(
    "make", [lambda: PerCellASHA(0, 3), lambda: PerCellASHA(1, 1), lambda: PerCellMedian(0, 3), lambda: PerCellMedian(1, 0)]
)
def test_impossible_settings_are_refused(make: object) -> None:
    """Periods and factors that cannot be are errors when the study is built."""
    with pytest.raises(UserError, match="needs"):
        make()  # type: ignore[operator]
