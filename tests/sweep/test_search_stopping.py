"""Early stopping among trials of different lengths, as a search compares them."""

import pytest

from segsweep.config import PerCellASHA, PerCellMedian, PerCellRacing
from segsweep.config.early_stopping import EarlyStopping
from segsweep.config.keep import Reading
from segsweep.sweep.decisions import Verdict
from segsweep.sweep.early_stopping import PerCellStopping
from segsweep.sweep.search_stopping import SharedStopping

RULES = [PerCellASHA(), PerCellMedian(min_trials=1), PerCellRacing()]


def report(stopping: SharedStopping | PerCellStopping, trial: str, values: list[float]) -> None:
    """Report the epochs of a trial."""
    for epoch, value in enumerate(values, start=1):
        stopping.report("pool", trial, epoch, Reading(value))


@pytest.mark.parametrize("rule", [None, *RULES])
def test_with_equal_lengths_the_rule_works_as_in_a_cell(rule: EarlyStopping | None) -> None:
    """The verdicts on all epochs of two trials equal those of a cell."""
    shared, cell = SharedStopping(rule, 6), PerCellStopping(rule)
    for trial in ("good", "bad"):
        shared.add(trial, 6)
    verdicts = []
    for stopping in (shared, cell):
        report(stopping, "good", [0.5, 0.6, 0.65, 0.7, 0.71, 0.72])
        found = []
        for epoch, value in enumerate([0.5, 0.55, 0.4, 0.3, 0.3, 0.3], start=1):
            stopping.report("pool", "bad", epoch, Reading(value))
            found.append(stopping.judge("pool", "bad", epoch, 6))
        verdicts.append(found)
    assert verdicts[0] == verdicts[1]
    assert (Verdict.STOP in verdicts[0]) == (rule is not None)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("ahead", "continues"), [(0.01, True), (-0.2, False)])
def test_trials_of_different_lengths_are_compared_at_equal_shares(rule: EarlyStopping, ahead: float, continues: bool) -> None:
    """Half of a short trial is compared with half of a long one, and the other way round: the one that is ahead continues."""
    for first, second in ((12, 4), (4, 12)):
        stopping = SharedStopping(rule, 4)
        stopping.add("first", first)
        stopping.add("second", second)
        report(stopping, "first", [0.6 * epoch / first for epoch in range(1, first + 1)])
        verdicts = []
        for epoch in range(1, second + 1):
            stopping.report("pool", "second", epoch, Reading(0.6 * epoch / second + ahead))
            verdicts.append(stopping.judge("pool", "second", epoch, second))
        assert (Verdict.STOP not in verdicts) == continues
        assert len(stopping.curve("pool", "second")) == second


def test_a_long_trial_is_compared_once_per_epoch_of_the_shortest() -> None:
    """A trial of twelve epochs, where the shortest has four, can stop at the epochs 3, 6, 9 and 12 only."""
    stopping = SharedStopping(PerCellRacing(), 4)
    for trial, planned in (("good", 4), ("bad", 12)):
        stopping.add(trial, planned)
    report(stopping, "good", [0.9] * 4)
    verdicts = []
    for epoch in range(1, 13):
        stopping.report("pool", "bad", epoch, Reading(0.1))
        verdicts.append(stopping.judge("pool", "bad", epoch, 12))
    assert [number for number, verdict in enumerate(verdicts, start=1) if verdict is Verdict.STOP] == [3, 6, 9, 12]


def test_a_failed_trial_stops_no_other() -> None:
    """The readings of a failed trial are dropped, and those of a reopened one."""
    stopping = SharedStopping(PerCellRacing(), 4)
    for trial in ("failed", "reopened", "other"):
        stopping.add(trial, 4)
        report(stopping, trial, [0.9 if trial != "other" else 0.1] * 3)
    stopping.ended("pool", "failed", "failed")
    stopping.ended("pool", "reopened", "stopped")
    stopping.reopened("pool", "reopened")
    assert stopping.judge("pool", "other", 3, 4) is Verdict.CONTINUE
    assert stopping.curve("pool", "failed") == stopping.curve("pool", "reopened") == []
