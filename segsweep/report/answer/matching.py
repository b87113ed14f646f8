"""The design of a study: its cells with their levels on the compared axes, and the pairs that differ in one axis alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.cells import compared_axes, follows_source, reported_cells

PREFERRED = {"source": "random", "freeze": "none"}  # reference levels, where the study has them
LARGEST = ("fraction", "dev_share")  # axes whose reference level is the largest

Pair = tuple[str, str]  # a cell, and the matched cell at the reference level


@dataclass(frozen=True)
class Design:
    """The cells of a study and the levels of its compared axes, as text.

    Attributes:
        axes: The compared axes, in the order of the declaration.
        cells: The level of each cell on every axis, in the order of the declaration.
        levels: The levels of each axis, in the order of the declaration.
    """

    axes: tuple[str, ...]
    cells: Mapping[str, Mapping[str, str]]
    levels: Mapping[str, tuple[str, ...]]

    @property
    def varied(self) -> list[str]:
        """The axes with at least two levels."""
        return [axis for axis in self.axes if len(self.levels[axis]) > 1]

    def reference(self, axis: str) -> str:
        """Return the level that others are compared with: `random`, `none`, the largest fraction, or the first level."""
        levels = self.levels[axis]
        if axis in LARGEST:
            return max(levels, key=lambda level: float("inf") if level == "none" else float(level))
        return PREFERRED[axis] if PREFERRED.get(axis) in levels else levels[0]

    def others(self, axis: str) -> tuple[str, ...]:
        """Return the other axes that vary, without those that follow the source for the axis `source`."""
        return tuple(other for other in self.varied if other != axis and other not in self.followers(axis))

    def followers(self, axis: str) -> tuple[str, ...]:
        """Return the axes that vary and follow the source for the axis `source`; none for other axes."""
        return tuple(other for other in self.varied if axis == "source" and follows_source(other))

    def averaged(self, axis: str) -> tuple[str, ...]:
        """Return the axes over whose levels the pairs of an axis are averages: the others, and followers with several levels."""
        paired = [[cell for cell, _ in each] for each in self.pairs(axis).values()]
        together = [cell for cells in paired for cell in cells]
        others = [other for other in self.others(axis) if len(self._levels_of(together, other)) > 1]
        followers = [other for other in self.followers(axis) if any(len(self._levels_of(each, other)) > 1 for each in paired)]
        return (*others, *followers)

    def held(self, axis: str) -> dict[str, str]:
        """Return the level of every other axis that varies between cells, but not between the pairs of an axis."""
        together = [cell for each in self.pairs(axis).values() for cell, _ in each]
        found = {other: self._levels_of(together, other) for other in self.others(axis)}
        return {other: min(levels) for other, levels in found.items() if len(levels) == 1}

    def _levels_of(self, cells: Sequence[str], axis: str) -> set[str]:
        return {self.cells[cell][axis] for cell in cells}

    def pairs(self, axis: str, stratum: Mapping[str, str] | None = None) -> dict[str, list[Pair]]:
        """Return the pairs of each level of an axis: cells at the level, each with the one cell at the reference that matches it.

        Matched cells are equal on all other compared axes. Axes that describe a source may differ where the source differs; they
        must be equal if several cells at the reference differ in them alone. With a stratum, pairs are of cells with its levels.
        """
        inside = {
            cell: own for cell, own in self.cells.items() if all(own[key] == level for key, level in (stratum or {}).items())
        }
        reference, others = self.reference(axis), self.others(axis)
        partners: dict[tuple[str, ...], list[str]] = {}
        for cell, own in inside.items():
            if own[axis] == reference:
                partners.setdefault(tuple(own[other] for other in others), []).append(cell)
        found: dict[str, list[Pair]] = {level: [] for level in self.levels[axis] if level != reference}
        for cell, own in inside.items():
            alike = partners.get(tuple(own[other] for other in others), [])
            if len(alike) > 1:
                same = [own[other] for other in self.followers(axis)]
                alike = [each for each in alike if [self.cells[each][other] for other in self.followers(axis)] == same]
            if own[axis] != reference and len(alike) == 1:
                found[own[axis]].append((cell, alike[0]))
        return found


def design_of(records: Records) -> Design:
    """Return the design of a study in its present declaration."""
    axes = tuple(compared_axes(records))
    rows = records.trials.drop_duplicates("cell").set_index("cell")
    texts = {axis: dict(zip(rows.index, map(level_text, rows[axis]), strict=True)) for axis in axes}
    cells = {cell: {axis: texts[axis][cell] for axis in axes} for cell in reported_cells(records) if cell in rows.index}
    declared = {axis: [level_text(value) for grid in records.study["compare"] for value in grid.get(axis, ())] for axis in axes}
    levels = {axis: _ordered(declared[axis], [own[axis] for own in cells.values()]) for axis in axes}
    return Design(axes, cells, levels)


def _ordered(declared: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
    """Return the levels that cells have, those of the declaration in its order and first."""
    found = set(present)
    return tuple(dict.fromkeys([*(level for level in declared if level in found), *present]))


def level_text(value: object) -> str:
    """Return a level as text."""
    if value is None or pd.isna(value):  # type: ignore[call-overload]  # a scalar
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def pair_weights(pairs: Sequence[Pair]) -> dict[str, float]:
    """Return the weights of the mean difference over pairs of cells."""
    weights: dict[str, float] = {}
    for cell, partner in pairs:
        weights[cell] = weights.get(cell, 0.0) + 1 / len(pairs)
        weights[partner] = weights.get(partner, 0.0) - 1 / len(pairs)
    return weights
