"""The largest complete grid within the cells of a study, which may declare a union of grids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import product

import numpy as np
import numpy.typing as npt

Kept = tuple[tuple[str, ...], ...]  # the levels of every axis


@dataclass(frozen=True)
class CompleteGrid:
    """Cells that hold every combination of some levels of the axes.

    Attributes:
        levels: For each axis, the levels in the grid.
        cells: Positions of the cells among all, int64, of shape (levels of the first axis, levels of the second, ...).
        left_out: For each axis that lost levels, the levels that are not in the grid.
    """

    levels: Mapping[str, tuple[str, ...]]
    cells: npt.NDArray[np.int64]
    left_out: Mapping[str, tuple[str, ...]]


def complete_grid(levels: Mapping[str, Sequence[str]]) -> CompleteGrid:
    """Return the complete grid with the most cells.

    Args:
        levels: For each axis, the level of every cell.

    Raises `ValueError` if two cells have the same levels.
    """
    rows = list(zip(*levels.values(), strict=True))
    cells = {row: number for number, row in enumerate(rows)}
    for number, row in enumerate(rows):
        if cells[row] != number:
            raise ValueError(f"cells {number} and {cells[row]}: have the same levels {row}; name the axis that they differ in")
    axes = tuple(tuple(dict.fromkeys(values)) for values in levels.values())
    kept = _largest(axes, cells)
    positions = np.array([cells[row] for row in product(*kept)], dtype=np.int64).reshape([len(axis) for axis in kept])
    left = {
        name: tuple(level for level in every if level not in some)
        for name, every, some in zip(levels, axes, kept, strict=True)
        if len(some) < len(every)
    }
    return CompleteGrid(dict(zip(levels, kept, strict=True)), positions, left)


def _largest(axes: Kept, cells: Mapping[tuple[str, ...], int]) -> Kept:
    """Return the levels of the largest complete grid.

    Search by the number of cells that are left: of a combination without a cell, one level must go. Fewer levels never hold more
    cells, so the first complete grid is the largest.
    """
    queue: list[tuple[int, int, Kept]] = [(-len(cells), 0, axes)]
    seen = {axes}
    while True:
        _, _, kept = heappop(queue)
        gap = next((row for row in product(*kept) if row not in cells), None)
        if gap is None:
            return kept
        for axis, level in enumerate(gap):
            fewer = (*kept[:axis], tuple(each for each in kept[axis] if each != level), *kept[axis + 1 :])
            if fewer not in seen:
                seen.add(fewer)
                left = sum(all(level in axis for level, axis in zip(row, fewer, strict=True)) for row in cells)
                heappush(queue, (-left, len(seen), fewer))
