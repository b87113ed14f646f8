"""The kernel distance of image sets and its standard error, against direct computations."""

import math

import numpy as np
import pytest
import torch

from segsweep.training.image_distance import kernel_distance
from segsweep.training.left_out import with_errors


def sets(count: int, other: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, 5) and (M, 5) of two sets of images whose means differ by `shift`."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 5)), rng.normal(size=(other, 5)) + shift


def direct(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased squared MMD, pair by pair."""

    def mean(one: np.ndarray, other: np.ndarray, same: bool) -> float:
        pairs = [(a @ b / 5 + 1) ** 3 for i, a in enumerate(one) for j, b in enumerate(other) if not (same and i == j)]
        return float(np.mean(pairs))

    return mean(x, x, same=True) + mean(y, y, same=True) - 2 * mean(x, y, same=False)


@pytest.mark.parametrize(("count", "other"), [(9, 13), (13, 9)])
def test_distance_equals_a_direct_computation(count: int, other: int) -> None:
    """KID is the unbiased squared MMD with a cubic kernel; its error is the jackknife over eighths of both sets."""
    x, y = sets(count, other, shift=1.0)
    found = kernel_distance(torch.from_numpy(x), torch.from_numpy(y))
    assert found.value == pytest.approx(direct(x, y), rel=1e-10)
    without = [direct(x[np.arange(count) % 8 != k], y[np.arange(other) % 8 != k]) for k in range(8)]
    assert found.error == pytest.approx(math.sqrt(7 / 8 * np.square(without - np.mean(without)).sum()), rel=1e-9)


def test_distance_of_equal_distributions_is_about_zero() -> None:
    """Two samples of one distribution lie within three standard errors of 0; a shifted one does not."""
    near, far = (kernel_distance(*map(torch.from_numpy, sets(200, 150, shift))) for shift in (0.0, 1.0))
    assert abs(near.value) < 3 * near.error
    assert far.value > 3 * far.error


def test_error_of_a_mean_is_the_usual_one() -> None:
    """For the mean of eight images the error is the standard deviation divided by the square root of eight."""
    values = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])
    found, double = with_errors(lambda kept: [float(values[kept].mean()), 2 * float(values[kept].mean())], 8)
    assert (found.value, found.error) == (pytest.approx(3.875), pytest.approx(float(values.std()) / math.sqrt(8)))
    assert (double.value, double.error) == (2 * found.value, pytest.approx(2 * found.error))


def test_error_is_unknown_with_too_few_images() -> None:
    """With two images, or where a score without a block is undefined, there is no error."""
    assert with_errors(lambda kept: [float(kept.sum())], 2)[0].error is None
    assert with_errors(lambda kept: [1.0 if kept.all() else math.nan], 9)[0].error is None
