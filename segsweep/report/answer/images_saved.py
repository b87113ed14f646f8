"""How many target images a source is worth: the number with which a reference does as well as the source with fewer.

The set of these numbers is found by inverting intervals, as Fieller's interval of a ratio is: it contains every number at which
the difference between source and reference may be zero. The score of the reference between two numbers of images is taken as
linear in their logarithm. Nothing else is assumed, in particular no growth of the score with the number of images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from segsweep.report.answer.contrasts import Contrasts, Floats

STEPS = 100  # of the search between two neighbouring numbers of images


@dataclass(frozen=True)
class ImagesSaved:
    """The number of target images with which the reference scores as the source does, with a confidence set.

    Attributes:
        estimate: The number at which both score alike; 0 if it is below the smallest tried, infinity if above the largest.
        low: Lower end of the set; 0 if it is open: no number of images, down to the smallest tried, is excluded.
        high: Upper end of the set; infinity if it is open.
        tried: The smallest and the largest number of images of the reference.

    `low` equals the largest number tried if the reference scores lower than the source with all tried numbers, and `high` the
    smallest if it scores higher with all. If the set has gaps, the ends are its outermost.
    """

    estimate: float
    low: float
    high: float
    tried: tuple[float, float]

    @property
    def says_something(self) -> bool:
        """Whether the set excludes any number of images."""
        return self.low > 0 or bool(np.isfinite(self.high))


def images_saved(
    contrasts: Contrasts, source: Floats, reference: Sequence[Floats], images: Sequence[float], level: float | None = None
) -> ImagesSaved:
    """Return the number of images with which a reference scores as a source does.

    Args:
        contrasts: Confirmed runs of all cells.
        source: Weights (C,) of the source's score, which add up to 1: one cell, or a mean over cells.
        reference: Weights (C,) of the reference's score for each of `images`, from the same cells apart from source and number.
        images: Numbers of target images of the reference in ascending order, at least two.
        level: Confidence level; by default that of the contrasts.

    Raises `ValueError` for fewer than two numbers, or numbers that do not ascend.
    """
    logs = np.log(np.asarray(images, dtype=np.float64))
    if len(logs) < 2 or not (np.diff(logs) > 0).all():
        raise ValueError(f"images {list(images)}: must be two or more numbers in ascending order")
    weights, at = _candidates(source, np.stack(reference), logs)
    found = contrasts.estimates(weights, level)
    crosses = found.estimate[:-1] * found.estimate[1:] <= 0
    inside = np.flatnonzero((np.abs(found.estimate) <= found.half) | np.append(crosses, False) | np.append(False, crosses))
    lower_first, higher_last = found.low[0] > 0, found.high[-1] < 0  # the reference, surely, with the fewest and the most images
    low = float(at[inside[0] if len(inside) else -1]) if lower_first else 0.0
    high = float(at[inside[-1] if len(inside) else 0]) if higher_last else np.inf
    return ImagesSaved(_crossing(found.estimate, np.log(at)), low, high, (float(images[0]), float(images[-1])))


def _candidates(source: Floats, reference: Floats, logs: Floats) -> tuple[Floats, Floats]:
    """Return the weights (G, C) of source minus reference at G numbers of images, and the numbers (G,)."""
    candidates = np.concatenate([np.linspace(*pair, STEPS, endpoint=False) for pair in pairwise(logs)])
    candidates = np.append(candidates, logs[-1])
    after = np.clip(np.searchsorted(logs, candidates, side="right"), 1, len(logs) - 1)
    share = ((candidates - logs[after - 1]) / (logs[after] - logs[after - 1]))[:, None]
    return source - (1 - share) * reference[after - 1] - share * reference[after], np.exp(candidates)


def _crossing(estimate: Floats, logs: Floats) -> float:
    """Return the first number of images at which the difference is zero; 0 if it starts below, infinity if it stays above."""
    if estimate[0] < 0:
        return 0.0
    below = np.flatnonzero(estimate <= 0)
    if not len(below):
        return float("inf")
    after = below[0]
    if estimate[after] == 0:
        return float(np.exp(logs[after]))
    share = estimate[after - 1] / (estimate[after - 1] - estimate[after])
    return float(np.exp(logs[after - 1] + share * (logs[after] - logs[after - 1])))
