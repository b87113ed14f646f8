"""What matters: the share of the differences between cells that each compared axis explains (analysis of variance).

The cells of a complete grid differ by main effects of the axes, by effects of pairs of axes, and by effects of more than two. The
squares of orthonormal contrasts add up to all differences between cells, so each effect has an exact share of them. Chance adds
to every square; its expected part is subtracted.

Only compared axes have shares. The share of a tuned axis would depend on the range that was declared for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from segsweep.report.answer.complete_grid import CompleteGrid, complete_grid
from segsweep.report.answer.contrasts import Contrasts, Floats, helmert

ROUNDING = 1e-24  # a sum of squares of equal scores in 0..1, by rounding


@dataclass(frozen=True)
class LevelDifference:
    """The difference between the highest and the lowest level of an axis, each averaged over all other axes.

    Attributes:
        high: Level with the highest mean score; `low` is that with the lowest.
        estimate: Difference of the two, at least 0.
        half: Half-width of its interval, which holds for the differences of all levels of the axis together.
    """

    high: str
    low: str
    estimate: float
    half: float


@dataclass(frozen=True)
class Effect:
    """The effect of one axis, of a pair of axes, or of all larger sets of axes together (no axes).

    Attributes:
        axes: Names of the axes; none for the rest.
        share: Share of the differences between cells, in 0..1, without chance.
        largest: The largest difference between two levels; None for more than one axis.
    """

    axes: tuple[str, ...]
    share: float
    largest: LevelDifference | None


@dataclass(frozen=True)
class Importance:
    """The effects of the compared axes in a complete grid of cells.

    Attributes:
        effects: Single axes and pairs by falling share, then the rest; their shares add up to 1. All shares are 0 where chance
            explains every difference.
        chance: Share of the observed squares that chance explains, in 0..1; the shares of effects divide what it leaves. With one
            seed it is the chance of images alone, so that shares contain that of seeds.
        grid: The cells that were used, and the levels that were left out.
    """

    effects: tuple[Effect, ...]
    chance: float
    grid: CompleteGrid


def importance(levels: Mapping[str, Sequence[str]], contrasts: Contrasts) -> Importance | None:
    """Return the effects of the axes on the largest complete grid of cells, None if no axis varies in it.

    Axes with one level in the grid are absent.

    Args:
        levels: For each compared axis, the level of every cell in the order of `contrasts.mean`.
        contrasts: Confirmed runs of all cells.

    Raises `ValueError` if two cells have the same levels.
    """
    grid = complete_grid(levels)
    axes = [axis for axis, found in grid.levels.items() if len(found) > 1]
    if not axes:
        return None
    found: dict[tuple[str, ...], Floats] = {}
    for effect in _subsets(axes):
        name = effect if len(effect) <= 2 else ()
        found[name] = found.get(name, np.zeros(2)) + _squares(grid, effect, contrasts)
    observed = sum(squares for squares, _ in found.values())
    real = {effect: max(squares - noise, 0.0) if observed > ROUNDING else 0.0 for effect, (squares, noise) in found.items()}
    total = sum(real.values()) or 1.0
    effects = [
        Effect(effect, float(value / total), _largest(grid, effect[0], contrasts) if len(effect) == 1 else None)
        for effect, value in sorted(real.items(), key=lambda item: (not item[0], -item[1]))
    ]
    chance = sum(min(squares, noise) for squares, noise in found.values())
    return Importance(tuple(effects), float(chance / observed) if observed > ROUNDING else 0.0, grid)


def _subsets(axes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield all sets of one axis or more."""
    for size in range(1, len(axes) + 1):
        yield from combinations(axes, size)


def _squares(grid: CompleteGrid, effect: tuple[str, ...], contrasts: Contrasts) -> Floats:
    """Return the sum of squares of an effect's orthonormal contrasts, and the part of it that is expected by chance (2,)."""
    rows: Floats = np.ones((1, 1))
    for axis, levels in grid.levels.items():
        number = len(levels)
        rows = np.asarray(np.kron(rows, helmert(number) if axis in effect else np.full((1, number), number**-0.5)))
    weights = _on_cells(grid, rows, contrasts)
    return np.array([((weights @ contrasts.mean) ** 2).sum(), contrasts.variances(weights).sum()])


def _largest(grid: CompleteGrid, axis: str, contrasts: Contrasts) -> LevelDifference:
    """Return the largest difference between two levels of an axis."""
    names, position = grid.levels[axis], list(grid.levels).index(axis)
    of_level = np.zeros((len(names), *grid.cells.shape))
    for number in range(len(names)):
        np.moveaxis(of_level[number], position, 0)[number] = len(names) / grid.cells.size
    rows = of_level.reshape(len(names), -1)
    pairs = list(combinations(range(len(names)), 2))
    found = contrasts.family(_on_cells(grid, np.stack([rows[one] - rows[two] for one, two in pairs]), contrasts))
    best = int(np.argmax(np.abs(found.estimate)))
    one, two = pairs[best] if found.estimate[best] >= 0 else pairs[best][::-1]
    return LevelDifference(names[one], names[two], abs(float(found.estimate[best])), float(found.half[best]))


def _on_cells(grid: CompleteGrid, rows: Floats, contrasts: Contrasts) -> Floats:
    """Return weights (G, C) of all cells from weights (G, cells of the grid)."""
    weights = np.zeros((len(rows), len(contrasts.mean)))
    weights[:, grid.cells.ravel()] = rows
    return weights
