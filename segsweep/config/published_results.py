"""Published numbers that a report shows beside a study's results, and the deviations of the study from the publication."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segsweep.config.plain import plain
from segsweep.errors import UserError

DEVIATIONS = "Deviations from the paper:"


@dataclass(frozen=True)
class PublishedRun:
    """One row of a published table.

    Attributes:
        name: Name of the row.
        cell: Values of compared axes that identify the matching cell; the first cell with all these values matches.
        measures: Columns of the trials table (`test_iou`) and their published numbers.
        before: Whether the numbers belong to the source's model before fine-tuning; they then stand beside `before_iou`.
    """

    name: str
    cell: Mapping[str, Any]
    measures: Mapping[str, float]
    before: bool = False


@dataclass(frozen=True)
class Published:
    """A published table: its origin, its rows, and notes on the comparison with this study's results.

    Attributes:
        where: Publication and table.
        runs: Rows of the table; all have the same measures.
        note: What a reader must know to compare the numbers.
        deviations: Differences between the study and the published runs, and assumptions where the publication is silent: one
            text each, usually from the docstring of the study file (`deviations_in`).

    Raises:
        UserError: `deviations` is not a list of texts, or the runs do not all have the same measures.
    """

    where: str
    runs: Sequence[PublishedRun]
    note: str = ""
    deviations: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.deviations, str) or not all(isinstance(each, str) and each for each in self.deviations):
            raise UserError(f"published {self.where!r}: deviations={self.deviations!r}: must be a list of texts")
        names = [tuple(run.measures) for run in self.runs]
        if not names or len(set(names)) > 1 or not names[0]:
            raise UserError(f"published {self.where!r}: every run must give the same measures, at least one")

    def named(self, name: Callable[[Any], Any]) -> "Published":
        """Return the table with `name` applied to every value of its cells."""
        runs = [replace(run, cell={axis: name(value) for axis, value in run.cell.items()}) for run in self.runs]
        return replace(self, runs=runs)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for the records."""
        runs = [
            {**vars(run), "cell": dict(run.cell), "measures": {name: plain(value) for name, value in run.measures.items()}}
            for run in self.runs
        ]
        return {"where": self.where, "note": self.note, "deviations": list(self.deviations), "runs": runs}


def deviations_in(docstring: str | None) -> tuple[str, ...]:
    """Return the list below the line `Deviations from the paper:` in the docstring of a study file, one text per point.

    A point begins with `- `; its further lines are indented. Without a docstring, such as with `python -OO`, the result is empty.
    Raises `UserError` for a docstring without such a list.
    """
    if docstring is None:
        return ()
    points = re.findall(r"^- (.+(?:\n  .+)*)", docstring.partition(f"\n{DEVIATIONS}\n")[2], re.MULTILINE)
    if not points:
        raise UserError(
            f"the docstring of the study file has no list below a line {DEVIATIONS!r}; write one, with '- ' before each point"
        )
    return tuple(" ".join(point.split()) for point in points)
