"""Deadlines as texts and datetimes."""

from datetime import UTC, datetime, timedelta

import pytest

from segsweep.errors import UserError
from segsweep.sweep.deadline import parse_deadline
from segsweep.sweep.options import Options

NOW = datetime(2026, 11, 28, 22, 30).astimezone()


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("+8h", datetime(2026, 11, 29, 6, 30)),
        ("+1.5h", datetime(2026, 11, 29, 0, 0)),
        ("+90min", datetime(2026, 11, 29, 0, 0)),
        ("+90m", datetime(2026, 11, 29, 0, 0)),
        ("+2d", datetime(2026, 11, 30, 22, 30)),
        ("23:00", datetime(2026, 11, 28, 23, 0)),
        ("07:00", datetime(2026, 11, 29, 7, 0)),
        ("22:30", datetime(2026, 11, 29, 22, 30)),
        ("2026-12-01T07:00", datetime(2026, 12, 1, 7, 0)),
        ("2026-12-01 07:00", datetime(2026, 12, 1, 7, 0)),
        ("2026-12-01T07:00+00:00", datetime(2026, 12, 1, 7, 0, tzinfo=UTC)),
        (datetime(2026, 12, 1, 7, 0), datetime(2026, 12, 1, 7, 0)),
    ],
)
def test_a_deadline_is_a_moment_of_this_machine(given: str | datetime, moment: datetime) -> None:
    """A time of day that has passed is tomorrow's; a text without a time zone has the machine's."""
    assert parse_deadline(given, NOW) == moment.astimezone()


@pytest.mark.parametrize("given", ["", "8", "8h", "+8", "+8 weeks", "25:00", "2026-12-01", "tomorrow", "2026-13-01T07:00"])
def test_other_texts_are_refused(given: str) -> None:
    """The message names the text and the three forms."""
    with pytest.raises(UserError, match=r"^--deadline .*: must be a time of day such as 07:00, .*\+8h"):
        parse_deadline(given, NOW)


@pytest.mark.parametrize("given", ["2026-11-28T22:29", datetime(2020, 1, 1), "+0h"])
def test_the_past_is_refused(given: str | datetime) -> None:
    """A moment that has passed cannot be meant."""
    with pytest.raises(UserError, match="is in the past"):
        parse_deadline(given, NOW)


def test_options_resolve_a_deadline_once() -> None:
    """`+8h` counts from the moment at which the options are made, so that plan and run of one start agree."""
    options = Options(deadline="+8h")
    assert isinstance(options.deadline, datetime)
    assert abs(options.deadline - datetime.now().astimezone() - timedelta(hours=8)) < timedelta(minutes=1)


@pytest.mark.parametrize("hours", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_is_a_positive_number(hours: float) -> None:
    """Zero, negative and infinite budgets are refused, with the option's name."""
    with pytest.raises(UserError, match=r"^--budget-hours .*: must be a number of hours above 0$"):
        Options(budget_hours=hours)
