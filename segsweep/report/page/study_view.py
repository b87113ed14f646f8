"""A study as its page shows it: records and answer, one row per cell, and what is highlighted together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer, CellAnswer
from segsweep.report.answer.table import answer_table
from segsweep.report.answer.words import measure_text
from segsweep.report.cells import confirmed_runs, median_runs

OF_RUNS = ("trainable_parameters", "total_parameters", "predict_seconds", "test_images", "train_images")


@dataclass(frozen=True)
class StudyView:
    """The records of a study with the answer that follows from them."""

    records: Records
    answer: Answer

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per cell, as `answer_table` returns it, by the cell's name."""
        return answer_table(self.records, self.answer).set_index("cell", drop=False)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The finished confirmed runs."""
        return confirmed_runs(self.records)

    @cached_property
    def median_runs(self) -> Mapping[str, "pd.Series[Any]"]:
        """The confirmed run that represents each cell, by the cell's name; see `segsweep.report.cells.median_runs`."""
        return {str(run["cell"]): run for _, run in median_runs(self.records).iterrows()}

    @property
    def axes(self) -> list[str]:
        """The compared axes that vary; the first one if none does."""
        return self.answer.design.varied or list(self.answer.design.axes[:1])

    @property
    def group_axis(self) -> str:
        """The axis whose levels have a colour and a marker: the source, or else the first axis that varies."""
        return "source" if "source" in self.axes else self.axes[0]

    @cached_property
    def groups(self) -> Mapping[str, int]:
        """The number of the colour and marker of every level of the group axis."""
        return {level: number for number, level in enumerate(self.answer.design.levels[self.group_axis])}

    @property
    def group_labels(self) -> tuple[str, ...]:
        """The labels of the levels of the group axis, in the order of their numbers."""
        return tuple(self.answer.level(self.group_axis, level) for level in self.groups)

    @property
    def measure(self) -> str:
        """The measure of the answer in words."""
        return measure_text(self.answer)

    def level(self, cell: str, axis: str) -> str:
        """Return a cell's level on a compared axis."""
        return self.answer.design.cells[cell][axis]

    def setting(self, cell: str, axis: str) -> str:
        """Return the label of a cell's level on a compared axis."""
        return self.answer.level(axis, self.level(cell, axis))

    def group(self, cell: str) -> int:
        """Return the number of a cell's colour and marker."""
        return self.groups[self.level(cell, self.group_axis)]

    def label(self, cell: str) -> str:
        """Return the label of a cell."""
        return self.answer.cell(cell).label

    def row(self, cell: str) -> "pd.Series[Any]":
        """Return the row of a cell in `table`."""
        row = self.table.loc[cell]
        assert isinstance(row, pd.Series), f"{cell} occurs twice"
        return row

    def mean_of_runs(self, column: str, cell: str) -> float:
        """Return the mean of a column of numbers over the finished confirmed runs of a cell; NaN without a value."""
        return float(self._means[column].get(cell, math.nan))

    @cached_property
    def _means(self) -> "dict[str, pd.Series[float]]":
        return {name: self.runs[name].astype("float64").groupby(self.runs["cell"]).mean() for name in OF_RUNS}

    @cached_property
    def ranked(self) -> list[CellAnswer]:
        """All cells: those with scores from the highest, then the others in the order of the declaration."""
        return sorted(self.answer.cells, key=lambda cell: -cell.estimate if cell.units else 1.0)

    @cached_property
    def reference(self) -> str | None:
        """The cell with which the chosen one is compared: its partner at the reference level of the first axis that has one.

        Without such a cell it is the lowest; None with fewer than two cells that have scores.
        """
        confirmed, chosen = {cell.cell: cell for cell in self.answer.confirmed}, self.answer.chosen
        if len(confirmed) < 2 or chosen is None:
            return None
        for axis in self.axes:
            pairs = [pair for of_level in self.answer.design.pairs(axis).values() for pair in of_level]
            partner = next((reference for cell, reference in pairs if cell == chosen), None)
            if partner in confirmed:
                return partner
        return min((cell for name, cell in confirmed.items() if name != chosen), key=lambda cell: cell.estimate).cell
