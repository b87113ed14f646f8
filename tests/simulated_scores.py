"""Scores of simulated studies, whose true differences are known, for tests of the coverage of intervals."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

Floats = np.ndarray
IMAGES = 60


@dataclass(frozen=True)
class Chance:
    """Standard deviations of a cell's score: over training seeds, over images, and of the rest."""

    seeds: float
    images: float
    rest: float


CELLS = {"seeds": Chance(0.025, 0.01, 0.06), "both": Chance(0.01, 0.05, 0.06), "images": Chance(0.003, 0.1, 0.06)}


def random(*setting: object) -> np.random.Generator:
    """Return the generator of a setting, so that tests can run in any order."""
    return np.random.default_rng(crc32(repr(setting).encode()))


def report(title: str, columns: str, rows: dict[str, list[float]]) -> None:
    """Print a table: one row per setting, per cent with one decimal."""
    print(f"\n{title}\n{'':56s}{columns}")
    for name, values in rows.items():
        print(f"{name:56s}{'  '.join(f'{100 * value:5.1f}' for value in values)}")


def study(number: np.random.Generator, cells: int, seeds: int, chance: Chance, unlike: float, odd: float = 1) -> Floats:
    """Return scores (C, S, N) of equal cells, the logarithms of whose scatter have the sd `unlike`; cell 1 has `odd` times it."""
    scatter = np.exp(number.normal(0, unlike, (cells, 1, 1)))
    scatter[1] *= odd
    shared = number.normal(0, 0.2, (1, 1, IMAGES)) + number.normal(0, 0.01, (1, seeds, 1))
    own = scatter * number.normal(0, chance.seeds, (cells, seeds, 1)) + number.normal(0, chance.images, (cells, 1, IMAGES))
    scores: Floats = shared + own + number.normal(0, chance.rest, (cells, seeds, IMAGES))
    return scores


def to_first(cells: int) -> Floats:
    """Return the differences (C - 1, C) of every cell to the first."""
    return np.hstack([-np.ones((cells - 1, 1)), np.eye(cells - 1)])
