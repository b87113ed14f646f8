"""The budget of a start: the time that earlier starts have used, and the choices that it keeps to."""

from datetime import UTC, datetime
from typing import Any

import pytest
from drawn_study import Drawn

from segsweep.records import Records
from segsweep.records.tables import frame
from segsweep.records.times import with_datetimes
from segsweep.sweep.budget import Limits
from segsweep.sweep.budget_start import budget_of, chosen_at, hours_text, limit_facts, limits_of, spent_seconds
from segsweep.sweep.options import Options

DAY = datetime(2026, 12, 1, tzinfo=UTC).timestamp()


def trial(name: str, starts: int, seconds: float, passed: float | None, status: str = "finished") -> dict[str, Any]:
    """Return the row of a trial: its number of starts, the seconds of its epochs, and those from its start to its end."""
    ended_at = None if passed is None else DAY + passed
    row = {"trial_id": name, "starts": starts, "seconds": seconds, "started_at": DAY, "ended_at": ended_at, "status": status}
    return {**row, "study": "s", "phase": "tune", "cell": "c", "planned": name != "earlier"}


def records_of(trials: list[dict[str, Any]], stages: list[dict[str, Any]] = [], **study: Any) -> Records:  # noqa: B006
    """Return records with these trials and stages."""
    drawn = Drawn({"freeze": ["none", "encoder"]}).records()
    rows = {"all_trials": frame("trials", trials), "all_stages": frame("stages", stages), "all_scores": frame("scores", [])}
    tables = {name: with_datetimes(data) for name, data in rows.items()}
    return Records(**{**drawn.__dict__, **tables, "study": {**drawn.study, **study}})


def test_all_starts_and_declarations_count() -> None:
    """A trial that ran once counts from its start to its end, with its test; one that was resumed counts with its epochs, and so
    does one that was killed. A stage that was found in the store costs nothing."""
    trials = [
        trial("once", 1, 60.0, 75.0),
        trial("resumed", 2, 60.0, 9000.0),
        trial("killed", 1, 20.0, None, "running"),
        trial("earlier", 1, 30.0, 30.0),
    ]
    stage = {"stage_id": "s", "study": "s", "status": "finished", "seconds": 500.0, "started_at": DAY, "ended_at": DAY + 900}
    records = records_of(trials, [{**stage, "starts": 0}])
    assert spent_seconds(records, Options()) == pytest.approx(75 + 60 + 20 + 30)
    built = records_of(trials, [{**stage, "starts": 1}])
    assert spent_seconds(built, Options()) == pytest.approx(185 + 900)
    assert spent_seconds(built, Options(workers_per_trial=2, workers_per_stage=4)) == pytest.approx(2 * 185 + 4 * 900)
    assert spent_seconds(records_of([]), Options()) == 0.0


def start(**options: Any) -> dict[str, Any]:
    """Return what the records say of a start with these options."""
    return {"at": DAY, **limit_facts(Options(**options))}


@pytest.mark.parametrize(
    ("earlier", "now", "kept"),
    [
        ({"budget_hours": 5.0}, {"budget_hours": 5.0}, True),
        ({"budget_hours": 5.0}, {"budget_hours": 4.0}, True),
        ({"budget_hours": 5.0}, {"budget_hours": 6.0}, False),
        ({"budget_hours": 5.0}, {"budget_hours": 5.0, "deadline": "2190-01-01T07:00"}, True),
        ({"budget_hours": 5.0}, {"deadline": "2190-01-01T07:00"}, False),
        ({"deadline": "2190-01-01T07:00"}, {"deadline": "2190-01-01T07:00"}, True),
        ({"deadline": "2190-01-01T07:00"}, {"deadline": "2190-01-02T07:00"}, False),
    ],
)
def test_choices_are_kept_unless_the_limits_are_larger(earlier: dict[str, Any], now: dict[str, Any], kept: bool) -> None:
    """The same command after an interruption must not choose again, with points that it would add; a larger limit may."""
    drawn = records_of([], starts=[start(**earlier), {"at": DAY}])
    records = Records(**{**drawn.__dict__, "choices": {"c": {"cell": "c", "points": 5}}})
    assert chosen_at(records, limits_of(Options(**now))) == (5 if kept else None)


def test_choices_of_a_start_without_limits_bind_nothing() -> None:
    """They name no number of points."""
    drawn = records_of([], starts=[{"at": DAY}])
    assert chosen_at(Records(**{**drawn.__dict__, "choices": {"c": {"cell": "c"}}}), Limits(1.0)) is None


def test_no_limits_are_no_budget() -> None:
    """A start without the two options runs the whole study, as before."""
    assert budget_of(Options(), None, lambda _: 1.0, 1) is None
    assert limit_facts(Options()) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 device-hours"), (36, "0.01 device-hours"), (5000, "1.4 device-hours"), (3600 * 12_345, "12,345 device-hours")],
)
def test_device_time_has_two_digits(seconds: float, text: str) -> None:
    """Large numbers are whole, without an exponent."""
    assert hours_text(seconds) == text
