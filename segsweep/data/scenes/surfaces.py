"""Surfaces: noise, fur and patterns, normalised to one contrast, so that contrast does not distinguish them."""

from functools import cache

import numpy as np

from segsweep.data.scenes.canvas import SIZE_PX, Field, Random, X, Y

_GRID = 64  # side of the noise grid in cells, a power of two; the grid repeats


def _noise(rng: Random, x: Field, y: Field) -> Field:
    """Return smooth noise in 0..1 at positions (H, W) in units of noise cells."""
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
    """Return the weights (pixels, cells) that interpolate a row of cells, each `period` pixels wide, over the image's side."""
    position = np.arange(SIZE_PX) / period
    share = position % 1
    share, cells = share * share * (3 - 2 * share), np.arange(SIZE_PX // period + 2)
    after, share = cells - np.floor(position)[:, None], share[:, None]
    return np.where(after == 0, 1 - share, 0) + np.where(after == 1, share, 0)


def clouds(rng: Random, period: int) -> Field:
    """Return coarse noise (H, W) in 0..1 with cells of `period` pixels; faster than `_noise`."""
    steps = _steps(period)
    return steps @ rng.random((steps.shape[1], steps.shape[1])) @ steps.T


def turned(angle: float) -> tuple[Field, Field]:
    """Return the pixel coordinates along and across a direction, two positive arrays (H, W), for an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return X * cos + Y * sin + 2 * SIZE_PX, Y * cos - X * sin + 2 * SIZE_PX


def _standard(texture: Field) -> Field:
    """Return the texture with mean 0 and standard deviation 1, so that contrast does not identify it."""
    return (texture - float(texture.mean())) / (float(texture.std()) + 1e-6)


def blotches(rng: Random) -> Field:
    """Return noise (H, W) without a direction, as fine as fur is across its strokes."""
    period = rng.uniform(3.0, 5.5)
    along, across = turned(rng.uniform(0, np.pi))
    return _standard(_noise(rng, along / period, across / period))


def fur(rng: Random) -> Field:
    """Return strokes (H, W) along a slowly bending direction, coarse enough to remain visible at half the resolution."""
    along, across = turned(rng.uniform(0, np.pi))
    bend = rng.uniform(3.0, 9.0) * clouds(rng, 30)
    return _standard(_noise(rng, along / rng.uniform(12, 17), (across + 2 * bend) / rng.uniform(2.6, 3.4)))


def plain(rng: Random) -> Field:
    """Return a nearly uniform surface (H, W)."""
    return 0.2 * blotches(rng)


def checks(rng: Random) -> Field:
    """Return a chequered surface (H, W)."""
    period = rng.uniform(5, 9)
    along, across = turned(rng.uniform(0, np.pi))
    return _standard((np.floor(along / period) + np.floor(across / period)) % 2)


def dots(rng: Random) -> Field:
    """Return round dots on a rotated grid, (H, W)."""
    period = rng.uniform(6, 10)
    along, across = turned(rng.uniform(0, np.pi))
    squared = (along % period - period / 2) ** 2 + (across % period - period / 2) ** 2
    return _standard(np.clip(1.5 + 0.3 * period - np.sqrt(squared), 0, 1.5))


def bands(rng: Random) -> Field:
    """Return straight, even bands, as on cloth or a facade, (H, W)."""
    period = rng.uniform(8, 14)
    along, _ = turned(rng.uniform(0, np.pi))
    return _standard(np.clip(np.abs(along % period - period / 2) - period / 4, -1, 1))


LIFELESS = (blotches, blotches, plain, checks, dots)
MADE = (plain, plain, checks, bands)
