"""A study as its page shows it: records and answer, one row per cell, and what is highlighted together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer, CellAnswer
from segsweep.report.answer.matching import design_of, level_text
from segsweep.report.answer.sentences import measure_text
from segsweep.report.answer.table import answer_table
from segsweep.report.cells import compared_axes, confirmed_runs, varied

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
    def axes(self) -> list[str]:
        """The compared axes that vary; the first one if none does."""
        axes = compared_axes(self.records)
        return varied(self.table, axes) or axes[:1]

    @property
    def group_axis(self) -> str:
        """The axis whose levels have a colour and a marker: the source, or else the first axis that varies."""
        return "source" if "source" in self.axes else self.axes[0]

    @cached_property
    def groups(self) -> Mapping[str, int]:
        """The number of the colour and marker of every level of the group axis, by the level's text."""
        return {text: number for number, text in enumerate(design_of(self.records).levels[self.group_axis])}

    @property
    def group_labels(self) -> tuple[str, ...]:
        """The labels of the levels of the group axis, in the order of their numbers."""
        return tuple(self.answer.level(self.group_axis, text) for text in self.groups)

    @property
    def measure(self) -> str:
        """The measure of the answer in words."""
        return measure_text(self.answer)

    def mean_of_runs(self, column: str, cell: str) -> float:
        """Return the mean of a column of numbers over the finished confirmed runs of a cell; NaN without a value."""
        return float(self._means[column].get(cell, math.nan))

    @cached_property
    def _means(self) -> "dict[str, pd.Series[float]]":
        return {name: self.runs[name].astype("float64").groupby(self.runs["cell"]).mean() for name in OF_RUNS}

    def row(self, cell: str) -> "pd.Series[Any]":
        """Return the row of a cell in `table`."""
        row = self.table.loc[cell]
        assert isinstance(row, pd.Series), f"{cell} occurs twice"
        return row

    def group(self, cell: str) -> int:
        """Return the number of a cell's colour and marker."""
        return self.groups[level_text(self.table.loc[cell, self.group_axis])]

    def setting(self, cell: str, axis: str) -> str:
        """Return the label of a cell's level on an axis."""
        return self.answer.level(axis, level_text(self.table.loc[cell, axis]))

    def label(self, cell: str) -> str:
        """Return the label of a cell."""
        return self.answer.cell(cell).label

    @cached_property
    def ranked(self) -> list[CellAnswer]:
        """All cells: those with scores from the highest, then the others in the order of the declaration."""
        return sorted(self.answer.cells, key=lambda cell: -cell.estimate if cell.units else 1.0)

    @cached_property
    def reference(self) -> str | None:
        """The cell with which the chosen one is compared: that at the reference level of the first question that has one.

        Without such a cell it is the lowest; None with fewer than two cells.
        """
        confirmed, chosen = self.answer.confirmed, self.answer.chosen
        if len(confirmed) < 2 or chosen is None:
            return None
        for question in self.answer.questions:
            for difference in question.differences:
                weights = difference.weights
                if weights.get(chosen, 0) > 0:
                    others = [axis for axis in self.axes if axis != question.axis]
                    alike = [cell for cell in weights if weights[cell] < 0 and self._equal(cell, chosen, others)]
                    if alike:
                        return alike[0]
        return min((cell for cell in confirmed if cell.cell != chosen), key=lambda cell: cell.estimate).cell

    def _equal(self, cell: str, other: str, axes: list[str]) -> bool:
        return all(level_text(self.table.loc[cell, axis]) == level_text(self.table.loc[other, axis]) for axis in axes)
