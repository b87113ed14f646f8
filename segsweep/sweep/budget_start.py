"""The budget of a start: from its options and the records of earlier starts, with the check that the least study fits."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from segsweep.durations import readable_seconds
from segsweep.errors import UserError
from segsweep.records.study_records import Records
from segsweep.sweep.budget import RESERVE, Limits, Share
from segsweep.sweep.ledger import Ledger, Price
from segsweep.sweep.options import Options
from segsweep.sweep.planner import Planner
from segsweep.sweep.rounds import Budget, Rounds
from segsweep.sweep.worker_pool import processes_of
from segsweep.tasks.kinds import KINDS
from segsweep.tasks.task import Task
from segsweep.tasks.trial_task import TRIAL

HOUR = 3600.0


def limits_of(options: Options) -> Limits:
    """Return the limits that the options set."""
    assert not isinstance(options.deadline, str), "options turn texts into datetimes"
    budget = None if options.budget_hours is None else options.budget_hours * HOUR
    return Limits(budget, None if options.deadline is None else options.deadline.timestamp())


def limit_facts(options: Options) -> dict[str, Any]:
    """Return the limits of a start for its records: `budget_hours` and `deadline` (ISO 8601), those that are set."""
    deadline = options.deadline.isoformat() if isinstance(options.deadline, datetime) else None
    facts = {"budget_hours": options.budget_hours, "deadline": deadline}
    return {name: value for name, value in facts.items() if value is not None}


def budget_of(options: Options, records: Records | None, price: Price, workers: int, tuning_share: float = 1.0) -> Budget | None:
    """Return the budget of a start; None without limits.

    `price` predicts the seconds of a task on one worker. Early stopping is expected to leave `tuning_share` of a tuning trial.
    """
    limits = limits_of(options)
    if not limits:
        return None

    def expected(task: Task) -> float:
        return price(task) * (tuning_share if task.kind == TRIAL and task.spec.phase == "tune" else 1.0)

    def workers_of(task: Task) -> int:
        return processes_of(task, options)

    spent = spent_seconds(records, options) if records is not None else 0.0
    closed_at = chosen_at(records, limits) if records is not None else None
    return Budget(Ledger(limits, expected, workers_of, spent), workers, closed_at)


def spent_seconds(records: Records, options: Options) -> float:
    """Return the device time in seconds of all work in a study's folder, also of earlier declarations.

    A task that ran without interruption counts from its start to its end, another one with its epochs. It counts once for each
    worker that the options give to such a task.
    """
    total, starts = 0.0, records.study.get("starts") or [{"at": 0.0}]
    begun = pd.Timestamp(starts[0]["at"], unit="s", tz="UTC")
    for kind in KINDS.values():
        name = f"all_{kind.table.name}"
        rows = records.table(name) if name in Records.__dataclass_fields__ else records.table(kind.table.name)
        rows = rows[rows["starts"].fillna(0) > 0]  # the others were found in the store
        rows = rows[rows["started_at"] >= begun]  # those before belong to the study from which this one was forked
        passed = (rows["ended_at"] - rows["started_at"]).dt.total_seconds().where(rows["starts"] == 1)
        of_epochs = rows["seconds"].astype("float64")
        if "continued_from" in rows:  # epochs of a continued trial include those of the shorter one
            of_epochs = of_epochs.where(rows["continued_from"].isna() | passed.isna())
        seconds = pd.concat([of_epochs, passed], axis=1).max(axis=1).fillna(0.0)
        total += float(seconds.sum()) * int(getattr(options, kind.group_option))
    return total


def chosen_at(records: Records, limits: Limits) -> int | None:
    """Return the number of tuning points from which an earlier start within limits chose settings.

    None if there was none, or if each of the present limits is larger: then more points may be released.
    """
    points = [int(choice["points"]) for choice in records.choices.values() if choice.get("points") is not None]
    return max(points) if points and not _is_larger(limits, last_limits(records.study)) else None


def rechosen_line(records: Records, planner: Planner) -> str | None:
    """Return a line on cells that choose again, because earlier starts chose from fewer tuning points; None if there are none.

    Call it before the choices of this start are recorded.
    """
    points = [int(choice["points"]) for choice in records.choices.values() if choice.get("points") is not None]
    rounds, declared = planner.rounds, max((len(cell.tuning) for cell in planner.plan.cells), default=0)
    share = rounds.forecast(planner.plan, planner.workers) if rounds is not None else None
    now = declared if rounds is None else max(rounds.points, share.points if share is not None else 0)
    runs = int(((records.trials["phase"] == "confirm") & (records.trials["status"] == "finished")).sum())
    if not points or max(points) >= now or not runs:
        return None
    return (
        f"earlier starts chose settings from {max(points)} of {declared} tuning points, this one chooses from {now}: where "
        f"another setting wins, the cell's confirmed runs so far ({runs} in all cells) remain only in all_trials"
    )


def last_limits(study: Mapping[str, Any]) -> Limits:
    """Return the limits of the last start that had any, from a study's declaration."""
    found = (_recorded(start) for start in reversed(study.get("starts", ())))
    return next((limits for limits in found if limits), Limits())


def _recorded(start: Mapping[str, Any]) -> Limits:
    budget, deadline = start.get("budget_hours"), start.get("deadline")
    ends_at = None if deadline is None else datetime.fromisoformat(deadline).timestamp()
    return Limits(None if budget is None else budget * HOUR, ends_at)


def _is_larger(limits: Limits, before: Limits) -> bool:
    pairs = ((limits.device_seconds, before.device_seconds), (limits.ends_at, before.ends_at))
    return all(now is None or earlier is None or now > earlier for now, earlier in pairs)


@dataclass(frozen=True)
class BudgetForecast:
    """What a budget allows at the start of a run: the share of every cell, and the runs that are not expected to start.

    `share` is None if nothing more fits. `seconds` is the expected device time of the share's remaining work, `spent_seconds`
    that of earlier starts.
    """

    limits: Limits
    share: Share | None
    declared: Share
    least: Share
    not_started: int
    seconds: float
    spent_seconds: float

    @classmethod
    def of(cls, planner: Planner) -> "BudgetForecast | None":
        """Return the forecast of a planner; None if it has no budget."""
        rounds = planner.rounds
        if rounds is None:
            return None
        share = rounds.forecast(planner.plan, planner.workers)
        whole = share == rounds.declared
        cells = len(planner.plan.cells)
        expected = max(planner.trials_done, cells * (share.points + share.seeds)) if share else planner.trials_done
        seconds = rounds.seconds(share) if share else 0.0
        not_started = 0 if whole else planner.plan.trials - expected
        ledger = rounds.ledger
        return cls(ledger.limits, share, rounds.declared, rounds.least, not_started, seconds, ledger.spent)

    def line(self) -> str:
        """Return the forecast in words."""
        used = f" ({hours_text(self.spent_seconds)} used)" if self.spent_seconds else ""
        name, others = f"{limits_text(self.limits)}{used}", count(self.not_started, "run")
        if self.share == self.declared:
            return f"{name}: enough for the whole study, which needs {hours_text(self.seconds)} more"
        if self.share is None or not self.seconds:
            return f"{name}: no further round of trials fits; about {others} will not start"
        share = share_text(self.share, self.declared)
        return f"{name}: {share} per cell are expected, in {hours_text(self.seconds)}; about {others} will not start"

    def as_row(self) -> dict[str, Any]:
        """Return the forecast as plain values, for `--plan --json`."""
        ends_at = self.limits.ends_at
        return {
            "budget_hours": None if self.limits.device_seconds is None else self.limits.device_seconds / HOUR,
            "deadline": None if ends_at is None else datetime.fromtimestamp(ends_at).astimezone().isoformat(timespec="seconds"),
            "used_hours": self.spent_seconds / HOUR,
            "tuning_points": self.share.points if self.share else None,
            "seeds": self.share.seeds if self.share else None,
            "not_started": self.not_started,
            "line": self.line(),
        }


def share_text(share: Share, declared: Share) -> str:
    """Return the numbers of a share and of the declaration in words."""
    points = f"{share.points} of {declared.points} tuning points and " if declared.points else ""
    return f"{points}{share.seeds} of {declared.seeds} seeds"


def limits_text(limits: Limits) -> str:
    """Return limits in words, as `Budget of 3.5 device-hours, until 07:00`."""
    budget = [f"budget of {hours_text(limits.device_seconds)}"] if limits.device_seconds is not None else []
    deadline = [f"deadline {moment_text(limits.ends_at)}"] if limits.ends_at is not None else []
    text = ", ".join([*budget, *deadline])
    return text[:1].upper() + text[1:]


def hours_text(seconds: float) -> str:
    """Return a device time in words, with two significant digits."""
    hours = seconds / HOUR
    return f"{hours:.2g} device-hours" if 0 < hours < 99.5 else f"{hours:,.0f} device-hours"


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def moment_text(at: float) -> str:
    """Return a moment (seconds since 1970) as a local date and time."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")


def check_least(planner: Planner, records: Records | None, now: Callable[[], datetime] = datetime.now) -> None:
    """Raise `UserError` if not even the least share fits the limits of a planner.

    A start with the limits of an earlier one is never refused: it runs what still fits.
    """
    rounds = planner.rounds
    if rounds is None or (records is not None and last_limits(records.study) == rounds.ledger.limits):
        return
    if rounds.fits(rounds.least, planner.workers, RESERVE):
        return
    limits, ledger = rounds.ledger.limits, rounds.ledger
    least = RESERVE * rounds.seconds(rounds.least)
    work = f"the least study ({_least_text(rounds, planner)})"
    reserve = f"with a reserve of {100 * (RESERVE - 1):.0f} %"
    if limits.device_seconds is not None and ledger.spent + least > limits.device_seconds:
        used = f" beside the {hours_text(ledger.spent)} of earlier starts" if ledger.spent else ""
        wanted = _rounded_up((ledger.spent + least) / HOUR)
        raise UserError(
            f"--budget-hours {limits.device_seconds / HOUR:g}: {work} needs about {hours_text(least)}{used}, {reserve}; "
            f"give --budget-hours {wanted:g} or more, or narrow the study with --set"
        )
    assert limits.ends_at is not None
    seconds = rounds.seconds_to_end(rounds.least, planner.workers, RESERVE)
    takes = f"{readable_seconds(seconds)} on {count(planner.workers, 'worker')}, {reserve}"
    end = moment_text(now().timestamp() + seconds)
    raise UserError(
        f"--deadline {moment_text(limits.ends_at)}: {work} takes about {takes}, so until {end}; "
        "give a later deadline, more workers, or narrow the study with --set"
    )


def _least_text(rounds: Rounds, planner: Planner) -> str:
    stages = len(planner.missing_stages())
    built = f", and {count(stages, 'stage')}" if stages else ""
    return f"{share_text(rounds.least, rounds.declared)} in each of {planner.plan.counted_cells}{built}"


def _rounded_up(hours: float) -> float:
    """Return a number of hours with two significant digits, not less than the given one."""
    step = 10.0 ** (math.floor(math.log10(hours)) - 1)
    return float(f"{math.ceil(hours / step) * step:.3g}")
