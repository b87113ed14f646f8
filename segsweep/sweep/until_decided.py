"""Seeds until the questions of a study are decided: the study grows from look to look, as one that a user grows by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from segsweep.config.study import Study
from segsweep.errors import UserError
from segsweep.records.lines import declared, read_study
from segsweep.records.schema import FINAL
from segsweep.records.study_records import Records

OPEN, TOO_FEW = "undecided", "none"  # verdicts of `segsweep.report.answer.questions.Verdict`


def at_last_look(study: Study, folder: Path) -> Study:
    """Return a study at the look that its records have reached; the study itself if they have not looked yet.

    Raises `UserError` if the records were made with other looks: the intervals of all looks would not hold together.
    """
    if not study.looks or not declared(folder):
        return study
    before = read_study(folder)
    looks = tuple(before.get("looks") or ())
    if looks and looks != study.looks:
        changed = f"has begun with looks at {_listed(looks)} seeds, now at {_listed(study.looks)}"
        remedy = f"keep {looks[0]} seeds and at most {looks[-1]}, or give another --name"
        raise UserError(f"study {study.name}: {changed}; other looks would not hold at 95 % together: {remedy}")
    return replace(study, seeds=max(study.seeds, before["seeds"])) if looks else study


def looked_before(study: Study, before: Records | None) -> list[int]:
    """Return the smaller numbers of seeds with which a study had an answer in earlier starts, outside its looks."""
    if before is None or study.looks:
        return []
    seeds, looks = int(before.study["seeds"]), before.study.get("looks") or ()
    known = {*(before.study.get("looked") or ()), *(look for look in looks if look <= seeds)}
    if before.trials["status"].isin(FINAL).all():
        known.add(seeds)
    return sorted(number for number in known if number < study.seeds)


def look_remarks(study: Study, cells: int) -> list[str]:
    """Return a line on the looks of a study with a number of cells that adds seeds; none for other studies."""
    if not study.looks:
        return []
    more = cells * (study.looks[-1] - study.seeds)
    now = f"looks at {_listed(study.looks)} seeds, now at {study.seeds}"
    return [f"seeds are added until the questions are decided: {now}; up to {more} more confirmed runs may follow"]


def next_look(study: Study, records: Records) -> tuple[Study | None, str]:
    """Return the study at its next look, or None if it ends with the present one, and a line that explains it (may be empty).

    It ends if every difference is decided, if no number of seeds up to the last look would decide an open one, or if planned runs
    have not ended.
    """
    if not study.looks or not records.trials["status"].isin(FINAL).all():
        return None, ""
    differences = [difference for question in records.answer.questions for difference in question.differences]
    is_open = [each for each in differences if each.verdict in (OPEN, TOO_FEW)]
    count = f"{len(is_open)} of {len(differences)} differences {'is' if len(is_open) == 1 else 'are'} open"
    waiting = [each for each in is_open if _needs_more(each, study.looks[-1])]
    if not is_open:
        return None, f"the study ends with {study.seeds} seeds: every difference is decided"
    if study.seeds == study.looks[-1]:
        return None, f"the study ends at its last look, with {study.seeds} seeds: {count}"
    if not waiting:
        none = f"no number of seeds up to {study.looks[-1]} would decide"
        return None, f"the study ends with {study.seeds} seeds: {count}, which {none}"
    following = next(look for look in study.looks if look > study.seeds)
    line = f"with {study.seeds} seeds {count}, and more seeds would decide {len(waiting)}: next look at {following} seeds"
    return replace(study, seeds=following), line


def _listed(looks: tuple[int, ...]) -> str:
    return ", ".join(map(str, looks))


def _needs_more(difference: Any, most: int) -> bool:
    """Return whether a difference is open, and at most `most` seeds would decide it."""
    if difference.verdict == TOO_FEW:
        return True
    return bool(difference.verdict == OPEN and difference.units_needed is not None and difference.units_needed <= most)
