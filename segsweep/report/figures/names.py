"""The texts that distinguish the cells, lines and panels of a study's figures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from segsweep.records.study_records import Records
from segsweep.report.answer.labels import cell_labels, level_labels
from segsweep.report.answer.matching import Design, design_of
from segsweep.report.cells import follows_source

ALL = "all cells"  # name of the only line


@dataclass(frozen=True)
class Names:
    """Texts for the cells of a study.

    Attributes:
        design: The cells with their levels on the compared axes.
        levels: For each compared axis, the labels of its levels.
    """

    design: Design
    levels: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, records: Records) -> "Names":
        """Return the texts for a study in its present declaration."""
        design = design_of(records)
        return cls(design, {axis: level_labels(design, axis) for axis in design.axes})

    def cells(self) -> dict[str, str]:
        """Return the label of each cell: its levels on the axes that vary."""
        return cell_labels(self.design, self.levels)

    def lines(self, axis: str = "source") -> dict[str, str]:
        """Return the name of each cell's line: its level on an axis.

        A source is followed by the axes that vary for it alone, such as `transfer`: cells with the same name start from the same
        weights. If the study does not compare the axis, all cells have one name.
        """
        if axis not in self.design.axes:
            return dict.fromkeys(self.design.cells, ALL)
        return {cell: self._text(own, (axis, *self._following(axis, own[axis])), ", ") for cell, own in self.design.cells.items()}

    def panels(self, *drawn: str) -> dict[str, str]:
        """Return the title of each cell's panel: its levels on the axes that vary, one per line, without those in `drawn`.

        If `source` is drawn, axes that describe a source are left out too; see `lines`.
        """
        left_out = {*drawn, *(axis for axis in self.design.axes if "source" in drawn and follows_source(axis))}
        axes = [axis for axis in self.design.varied if axis not in left_out]
        return {cell: self._text(own, axes, "\n") for cell, own in self.design.cells.items()}

    def _following(self, axis: str, level: str) -> list[str]:
        """Return the axes that describe a source and vary among the cells of one source."""
        cells = [own for own in self.design.cells.values() if own[axis] == level]
        following = [other for other in self.design.axes if axis == "source" and follows_source(other)]
        return [other for other in following if len({own[other] for own in cells}) > 1]

    def _text(self, own: Mapping[str, str], axes: Iterable[str], separator: str) -> str:
        return separator.join(self.levels[axis][own[axis]] for axis in axes)
