"""What a budget or a deadline has left out of a study: the tuning points and seeds per cell, and the runs not started."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from segsweep.records.schema import FINAL
from segsweep.records.study_records import Records
from segsweep.report.planned_work import Key, PlannedWork


def budget_line(records: Records) -> str | None:
    """Return a sentence on the runs that a study with a budget or a deadline has not started.

    None if its last start had neither, or if no run is left.
    """
    limits = _limits(records.study)
    if not limits:
        return None
    work = PlannedWork.of(records)
    statuses = dict(zip(records.all_trials["trial_id"], records.all_trials["status"], strict=True))
    unchosen, ended, planned = work.unchosen(), dict[str, dict[Key, int]](), dict[str, dict[Key, int]]()
    not_started = 0
    for phase in ("tune", "confirm"):
        ended[phase], planned[phase] = defaultdict(int), defaultdict(int)
        for key, trials in _by_cell(work, phase).items():
            wanted = [trial for trial in trials if trial not in unchosen]
            planned[phase][key] += len(wanted)
            ended[phase][key] += sum(statuses.get(trial) in FINAL for trial in wanted)
            not_started += sum(statuses.get(trial, "not_run") == "not_run" for trial in wanted)
    if not not_started:
        return None
    points = _numbers(ended["tune"], planned["tune"], "tuning points")
    seeds = _numbers(ended["confirm"], planned["confirm"], "seeds")
    have = " and ".join(filter(None, (points, seeds)))
    runs = "1 run" if not_started == 1 else f"{not_started:,} runs"
    folds = " and fold" if any(fold is not None for _, fold in planned["confirm"]) else ""
    return f"{limits}: {have} per cell{folds}; {runs} not started. {_remedy(records.study['starts'][-1])}"


def _remedy(start: Mapping[str, Any]) -> str:
    """Return how the runs are started that the limits of a start have left out."""
    budget = ["a larger budget"] if start.get("budget_hours") is not None else []
    deadline = ["a later deadline"] if start.get("deadline") is not None else []
    limits = [*budget, *deadline]
    return f"The same command with {' and '.join(limits)}, or without {'it' if len(limits) == 1 else 'them'}, goes on."


def _limits(study: Mapping[str, Any]) -> str:
    """Return the limits of a study's last start in words; empty if it had none."""
    start = study["starts"][-1] if study.get("starts") else {}
    budget = [f"budget of {start['budget_hours']:g} device-hours"] if start.get("budget_hours") is not None else []
    deadline = [f"deadline {_moment(start['deadline'])}"] if start.get("deadline") is not None else []
    text = ", ".join([*budget, *deadline])
    return text[:1].upper() + text[1:]


def _moment(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M")


def _by_cell(work: PlannedWork, phase: str) -> dict[Key, list[str]]:
    """Return the ids of the trials of a phase by cell and fold: of confirmed runs those that the cell has chosen."""
    found: dict[Key, list[str]] = defaultdict(list)
    for trial in work.trials:
        key = (trial.cell, trial.fold)
        chosen = work.choices.get(key, {}).get("confirm") if phase == "confirm" else None
        if trial.phase == phase:
            found[key] = list(chosen) if chosen else [*found[key], trial.id]
    return found


def _numbers(ended: Mapping[Key, int], planned: Mapping[Key, int], noun: str) -> str:
    """Return how many trials cells have of those that are planned, as `2 to 3 of 8 tuning points`; empty if none are planned."""
    cells = [key for key, count in planned.items() if count]
    if not cells:
        return ""
    return f"{_between(ended[key] for key in cells)} of {_between(planned[key] for key in cells)} {noun}"


def _between(counts: Iterable[int]) -> str:
    listed = sorted(set(counts))
    return str(listed[0]) if len(listed) == 1 else f"{listed[0]} to {listed[-1]}"
