"""Halton's low-discrepancy sequence, plain or with its digits scrambled (Owen 2017, arXiv:1706.02808, algorithm 1)."""

import math
from collections.abc import Iterator, Sequence
from itertools import count, islice

import numpy as np

DOUBLE_BITS = 54  # digits beyond these do not change a double below 1


def halton(dimensions: int, seed: int | None = None) -> Iterator[tuple[float, ...]]:
    """Yield an endless sequence of points with `dimensions` coordinates in [0, 1).

    Dimension i uses the i-th prime as its base. With a seed, every digit of a coordinate is permuted by permutations that depend
    only on the seed. Without one, the digits are unchanged and the first point is 0. The points are bit-identical to those of
    `scipy.stats.qmc.Halton`, whose import takes half a second.
    """
    rng = None if seed is None else np.random.default_rng(seed).spawn(1)[0]  # scipy draws from this child generator
    digits = [(base, _digits(base, rng)) for base in islice(_primes(), dimensions)]
    for index in count():
        yield tuple(_van_der_corput(index, base, permutations) for base, permutations in digits)


def _primes() -> Iterator[int]:
    found: list[int] = []
    for number in count(2):
        if all(number % prime for prime in found):
            found.append(number)
            yield number


def _digits(base: int, rng: np.random.Generator | None) -> Sequence[Sequence[int]]:
    """Return a permutation of the digits 0..base-1 for each digit place that a double can hold."""
    places = math.ceil(DOUBLE_BITS / math.log2(base)) - 1
    if rng is None:
        return [range(base)] * places
    return [rng.permutation(base).tolist() for _ in range(places)]


def _van_der_corput(index: int, base: int, permutations: Sequence[Sequence[int]]) -> float:
    """Return the number in [0, 1) whose fractional digits are the digits of `index` in reverse order, each permuted."""
    value, weight = 0.0, 1.0 / base
    for permutation in permutations:
        index, digit = divmod(index, base)
        value += permutation[digit] * weight
        weight /= base
    return value
