"""Published numbers that a study's results are laid beside, and in what a study that repeats them deviates."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segsweep.config.plain import plain
from segsweep.errors import UserError

DEVIATIONS = "Deviations from the paper:"


@dataclass(frozen=True)
class PublishedRun:
    """One row of a published table: what it is called, which cell is its like here, and its numbers.

    `cell` maps compare axes to values; of the cells that hold them all the first is taken. `measures` maps columns of
    the trials table (`test_iou`) to numbers; `before` says that they are of the source's model, before fine-tuning, so that
    `before_iou` is what a number stands beside.
    """

    name: str
    cell: Mapping[str, Any]
    measures: Mapping[str, float]
    before: bool = False


@dataclass(frozen=True)
class Published:
    """A published table: where it stands, its rows, and what to know when they are laid beside one's own.

    `deviations` says in what a study that repeats the published runs differs from them, and what it assumes where the
    publication says nothing: a text each, usually those of the study file's docstring (`deviations_in`).
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
        """Return the same with every value of the cells replaced by what a function gives for it."""
        runs = [replace(run, cell={axis: name(value) for axis, value in run.cell.items()}) for run in self.runs]
        return replace(self, runs=runs)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for the records."""
        runs = [
            {**vars(run), "cell": dict(run.cell), "measures": {name: plain(value) for name, value in run.measures.items()}}
            for run in self.runs
        ]
        return {"where": self.where, "note": self.note, "deviations": list(self.deviations), "runs": runs}


def deviations_in(docstring: str | None) -> tuple[str, ...]:
    """Return the points of the list below the line `Deviations from the paper:` of a study file's docstring, a line each.

    A point begins with `- `; its further lines are indented. Returns none without a docstring, as with `python -OO`. Raises
    `UserError` for a docstring without such a list.
    """
    if docstring is None:
        return ()
    points = re.findall(r"^- (.+(?:\n  .+)*)", docstring.partition(f"\n{DEVIATIONS}\n")[2], re.MULTILINE)
    if not points:
        raise UserError(
            f"the docstring of the study file has no list below a line {DEVIATIONS!r}, each point beginning with '- '"
        )
    return tuple(" ".join(point.split()) for point in points)
