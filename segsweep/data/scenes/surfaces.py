"""Surfaces: noise, fur and patterns, brought to one contrast, so that contrast tells none from another."""

from functools import cache

import numpy as np

from segsweep.data.scenes.canvas import SIZE_PX, Field, Random, X, Y

_GRID = 64  # cells of the noise grid, a power of two; it repeats beyond


def _noise(rng: Random, x: Field, y: Field) -> Field:
    """Return smooth noise in 0..1 at positions that are counted in noise cells."""
    grid = rng.random(_GRID * _GRID)
    column, row = np.floor(x), np.floor(y)
    right, down = x - column, y - row
    right, down = right * right * (3 - 2 * right), down * down * (3 - 2 * down)
    left_index, up_index = column.astype(np.int64) & (_GRID - 1), (row.astype(np.int64) & (_GRID - 1)) * _GRID
    right_index, down_index = (left_index + 1) & (_GRID - 1), (up_index + _GRID) & (_GRID * _GRID - 1)
    up = grid[up_index + left_index] * (1 - right) + grid[up_index + right_index] * right
    low = grid[down_index + left_index] * (1 - right) + grid[down_index + right_index] * right
    return up + (low - up) * down


@cache
def _steps(period: int) -> Field:
    """Return the weights (pixels, cells) that spread a row of cells, `period` pixels wide, over the picture's side."""
    position = np.arange(SIZE_PX) / period
    share = position % 1
    share, cells = share * share * (3 - 2 * share), np.arange(SIZE_PX // period + 2)
    after, share = cells - np.floor(position)[:, None], share[:, None]
    return np.where(after == 0, 1 - share, 0) + np.where(after == 1, share, 0)


def clouds(rng: Random, period: int) -> Field:
    """Return coarse noise in 0..1, so many pixels from cell to cell; cheaper than `_noise`."""
    steps = _steps(period)
    return steps @ rng.random((steps.shape[1], steps.shape[1])) @ steps.T


def turned(angle: float) -> tuple[Field, Field]:
    """Return the pixel coordinates along and across a direction, all positive."""
    cos, sin = np.cos(angle), np.sin(angle)
    return X * cos + Y * sin + 2 * SIZE_PX, Y * cos - X * sin + 2 * SIZE_PX


def _standard(texture: Field) -> Field:
    """Return the texture with mean 0 and spread 1, so that contrast tells nothing about which texture it is."""
    return (texture - float(texture.mean())) / (float(texture.std()) + 1e-6)


def blotches(rng: Random) -> Field:
    """Return noise without a direction; as fine as fur is across."""
    period = rng.uniform(3.0, 5.5)
    along, across = turned(rng.uniform(0, np.pi))
    return _standard(_noise(rng, along / period, across / period))


def fur(rng: Random) -> Field:
    """Return strokes that flow in a direction which bends slowly; coarse enough to survive half the resolution."""
    along, across = turned(rng.uniform(0, np.pi))
    bend = rng.uniform(3.0, 9.0) * clouds(rng, 30)
    return _standard(_noise(rng, along / rng.uniform(12, 17), (across + 2 * bend) / rng.uniform(2.6, 3.4)))


def plain(rng: Random) -> Field:
    """Return a surface with next to nothing on it."""
    return 0.2 * blotches(rng)


def checks(rng: Random) -> Field:
    """Return a chequered surface."""
    period = rng.uniform(5, 9)
    along, across = turned(rng.uniform(0, np.pi))
    return _standard((np.floor(along / period) + np.floor(across / period)) % 2)


def dots(rng: Random) -> Field:
    """Return round dots on a turned grid."""
    period = rng.uniform(6, 10)
    along, across = turned(rng.uniform(0, np.pi))
    squared = (along % period - period / 2) ** 2 + (across % period - period / 2) ** 2
    return _standard(np.clip(1.5 + 0.3 * period - np.sqrt(squared), 0, 1.5))


def bands(rng: Random) -> Field:
    """Return straight, even bands, as on cloth or a facade."""
    period = rng.uniform(8, 14)
    along, _ = turned(rng.uniform(0, np.pi))
    return _standard(np.clip(np.abs(along % period - period / 2) - period / 4, -1, 1))


LIFELESS = (blotches, blotches, plain, checks, dots)
MADE = (plain, plain, checks, bands)
