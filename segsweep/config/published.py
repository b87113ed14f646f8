"""Published numbers that a study's results are laid beside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segsweep.errors import UserError


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
    """A published table: where it stands, its rows, and what to know when they are laid beside one's own."""

    where: str
    runs: Sequence[PublishedRun]
    note: str = ""

    def __post_init__(self) -> None:
        names = [tuple(run.measures) for run in self.runs]
        if not names or len(set(names)) > 1 or not names[0]:
            raise UserError(f"published {self.where!r}: every run must give the same measures, at least one")

    def named(self, name: Callable[[Any], Any]) -> "Published":
        """Return the same with every value of the cells replaced by what a function gives for it."""
        runs = [replace(run, cell={axis: name(value) for axis, value in run.cell.items()}) for run in self.runs]
        return replace(self, runs=runs)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for the records."""
        runs = [{**vars(run), "cell": dict(run.cell), "measures": dict(run.measures)} for run in self.runs]
        return {"where": self.where, "note": self.note, "runs": runs}
