"""What would decide the open questions of a study: more seeds, with their price."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer
from segsweep.report.answer.questions import Verdict
from segsweep.report.cells import confirmed_runs

MOST = 5  # proposals


@dataclass(frozen=True)
class NextRuns:
    """A number of seeds that would decide an open difference, if estimate and scatter stay as they are.

    Attributes:
        difference: The two sides, as text: `far against random weights`.
        units: Number of seeds, or source models, of the study then.
        options: The options of the study's command, such as `--set seeds=5`.
        runs: Number of further confirmed runs in all cells.
        hours: Their device-hours, by the mean time of each cell's finished runs; NaN if no run has a time.
    """

    difference: str
    units: int
    options: str
    runs: int
    hours: float


def next_runs(records: Records, answer: Answer) -> list[NextRuns]:
    """Return the cheapest numbers of seeds that would each decide a further open difference, at most five, cheapest first.

    Only averages over all matched cells are considered. The first seeds that a run adds are new ones; finished runs stay.
    """
    found = sorted(_proposals(records, answer), key=lambda each: each.units)
    return found[:MOST]


def _proposals(records: Records, answer: Answer) -> Iterator[NextRuns]:
    if answer.limits.folds or not answer.covers_seeds or answer.looks:  # looks are fixed before
        return
    runs = confirmed_runs(records)
    per_seed = runs.groupby("cell")["seconds"].mean()
    seeds_per_unit = int(records.study["seeds"]) // answer.units_planned
    for question in answer.questions:
        for each in question.differences:
            needed = each.units_needed or 0
            if each.verdict is Verdict.UNDECIDED and needed > answer.units_planned:
                more = (needed - answer.units_planned) * seeds_per_unit
                sides = (answer.level(question.axis, name) for name in (each.name, question.reference))
                models = f"--set source_seeds={needed} " if answer.models else ""
                options = f"{models}--set seeds={needed * seeds_per_unit}"
                hours = _hours(per_seed, more, len(answer.cells))
                yield NextRuns(" against ".join(sides), needed, options, more * len(answer.cells), hours)


def _hours(per_seed: "pd.Series[float]", more: int, cells: int) -> float:
    """Return the device-hours of further seeds in all cells; cells without a finished run count as the mean of the others."""
    return float(per_seed.mean()) * cells * more / 3600


def next_lines(proposals: list[NextRuns], unit: str = "seed") -> list[str]:
    """Return a sentence per proposal; `unit` is what the numbers count."""
    return [
        f"{each.difference}: about {each.units} {unit}s would decide it at the present estimate "
        f"({each.runs} more runs, {_time(each.hours)} of device time): add {each.options} to the study's command."
        for each in proposals
    ]


def _time(hours: float) -> str:
    if pd.isna(hours):
        return "unknown hours"
    if hours < 1 / 60:
        return "less than 1 min"
    return f"{60 * hours:.0f} min" if hours < 1 else f"{hours:.1f} h"
