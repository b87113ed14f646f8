"""Halton's sequence."""

from itertools import islice

import numpy as np
import pytest
from scipy.stats import qmc

from segsweep.sweep.halton import halton


@pytest.mark.parametrize("dimensions", [1, 2, 5, 12])
@pytest.mark.parametrize("seed", [None, 0, 1234567, 2**32 - 1])
def test_points_are_scipys_to_the_last_bit(dimensions: int, seed: int | None) -> None:
    """Ids of trials depend on these points, so they must be bit-identical: plain and scrambled, also far along the sequence."""
    reference = qmc.Halton(dimensions, scramble=seed is not None, rng=seed).random(2000)
    assert (np.array(list(islice(halton(dimensions, seed), 2000))) == reference).all()
