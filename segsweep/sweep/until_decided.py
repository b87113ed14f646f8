"""Seeds until the questions of a study are decided: the study grows from look to look, as one that a user grows by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from segsweep.config.study import Study
from segsweep.records.lines import declared, read_study
from segsweep.records.schema import FINAL
from segsweep.records.study_records import Records

OPEN, TOO_FEW = "undecided", "none"  # verdicts of `segsweep.report.answer.questions.Verdict`


def at_last_look(study: Study, folder: Path) -> Study:
    """Return a study at the look that its records have reached; the study itself if they have not looked yet."""
    if not study.looks or not declared(folder):
        return study
    before = read_study(folder)
    reached = before["seeds"] if tuple(before.get("looks") or ()) == study.looks else study.seeds
    return replace(study, seeds=max(study.seeds, reached))


def look_remarks(study: Study) -> list[str]:
    """Return a line on the looks of a study that adds seeds; none for other studies."""
    if not study.looks:
        return []
    looks = ", ".join(map(str, study.looks))
    return [f"seeds are added until the questions are decided: looks at {looks} seeds, now at {study.seeds}"]


def next_look(study: Study, records: Records) -> tuple[Study, str] | None:
    """Return the study at its next look, and a line that explains it; None if it ends with the present one.

    It ends if every difference is decided, if no number of seeds up to the last look would decide an open one, or if planned runs
    have not ended.
    """
    more = [look for look in study.looks if look > study.seeds]
    if not more or not records.trials["status"].isin(FINAL).all():
        return None
    wanted = [difference for question in records.answer.questions for difference in question.differences]
    waiting = [each for each in wanted if _needs_more(each, more[-1])]
    if not waiting:
        return None
    verb = "is" if len(waiting) == 1 else "are"
    differences = f"{len(waiting)} of {len(wanted)} differences {verb} open, and more seeds would decide"
    line = f"with {study.seeds} seeds {differences} {'it' if len(waiting) == 1 else 'them'}: next look at {more[0]} seeds"
    return replace(study, seeds=more[0]), line


def _needs_more(difference: Any, most: int) -> bool:
    """Return whether a difference is open, and at most `most` seeds would decide it."""
    if difference.verdict == TOO_FEW:
        return True
    return bool(difference.verdict == OPEN and difference.units_needed is not None and difference.units_needed <= most)
