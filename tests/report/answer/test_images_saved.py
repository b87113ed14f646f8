"""Target images that a source is worth."""

from itertools import product

import numpy as np
import pytest

from segsweep.report.answer.contrasts import Contrasts
from segsweep.report.answer.images_saved import ImagesSaved, images_saved

Floats = np.ndarray
IMAGES = (400, 1000, 2000)


def saved(means: Floats, sd: float = 0.0, images: tuple[float, ...] = IMAGES, seed: int = 0) -> ImagesSaved:
    """Return the images saved by the last cell; the cells before it are the reference with `images`."""
    contrasts = Contrasts.of([cells(np.array(means), 3, sd, np.random.default_rng(seed))])
    unit = np.eye(len(means))
    return images_saved(contrasts, unit[-1], list(unit[:-1]), images)


def cells(means: Floats, seeds: int, sd: float, number: np.random.Generator) -> Floats:
    """Return scores (C, S, N) of cells with these means; `sd` is that over seeds, and images and rest have chance as large."""
    shape = (len(means), seeds, 120)
    images = number.normal(0, 0.2, (1, 1, 120)) + (number.normal(0, 0.04, (len(means), 1, 120)) if sd else 0)
    rest = number.normal(0, 0.06, shape) if sd else 0
    found: Floats = means[:, None, None] + number.normal(0, sd, (*shape[:2], 1)) + images + rest
    return found


def test_without_chance_the_number_is_interpolated_in_its_logarithm() -> None:
    """A score that lies by a share between those at 400 and 1000 images is reached at that share of their logarithms."""
    found = saved([0.5, 0.6, 0.7, 0.55377])
    assert found.estimate == pytest.approx(400 * 2.5**0.5377)
    assert found.low == pytest.approx(found.estimate, rel=0.02)
    assert found.high == pytest.approx(found.estimate, rel=0.02)
    assert found.low <= found.estimate <= found.high
    assert found.tried == (400, 2000)


def test_the_set_ends_where_the_intervals_exclude_zero() -> None:
    """At both ends of the set the interval of source minus reference ends at zero, within a step of the search."""
    means = np.array([0.3, 0.6, 0.9, 0.65])
    contrasts = Contrasts.of([cells(means, 3, 0.01, np.random.default_rng(3))])
    found = images_saved(contrasts, np.eye(4)[3], list(np.eye(4)[:3]), IMAGES)
    assert 400 < found.low < found.estimate < found.high < 2000
    for end in (found.low, found.high):
        part = 0 if end < 1000 else 1
        share = np.log(end / IMAGES[part]) / np.log(IMAGES[part + 1] / IMAGES[part])
        weights = np.eye(4)[3] - (1 - share) * np.eye(4)[part] - share * np.eye(4)[part + 1]
        interval = contrasts.estimates(weights)
        assert abs(interval.estimate[0]) == pytest.approx(interval.half[0], abs=0.01)


@pytest.mark.parametrize(
    ("source", "estimate", "low", "high"),
    [(0.9, np.inf, 2000, np.inf), (0.1, 0, 0, 400)],
)
def test_a_source_beyond_the_reference_has_an_open_end(source: float, estimate: float, low: float, high: float) -> None:
    """A source above all of the reference saves more than the largest number tried, one below all less than the smallest."""
    found = saved([0.5, 0.6, 0.7, source], sd=0.001)
    assert (found.estimate, found.low, found.high) == pytest.approx((estimate, low, high))
    assert found.says_something


def test_ends_that_are_not_excluded_are_open() -> None:
    """Scores that chance could explain at every number leave both ends open."""
    found = saved([0.5, 0.52, 0.54, 0.52], sd=0.1)
    assert (found.low, found.high) == (0, np.inf)
    assert not found.says_something


def test_a_score_that_falls_with_more_images_keeps_the_outermost_ends() -> None:
    """No growth of the score is assumed: with three crossings the set reaches from the first to the last."""
    found = saved([0.5, 0.7, 0.55, 0.8, 0.6], images=(100, 200, 400, 800))
    assert 100 < found.low < 200
    assert 400 < found.high < 800
    assert found.estimate == pytest.approx(np.sqrt(100 * 200))


@pytest.mark.parametrize("images", [(400,), (400, 300), (400, 400)])
def test_numbers_of_images_must_ascend(images: tuple[float, ...]) -> None:
    """Fewer than two numbers, or numbers out of order, are an error."""
    with pytest.raises(ValueError, match="must be two or more numbers in ascending order"):
        saved([0.5] * (len(images) + 1), images=images)


@pytest.mark.slow
def test_the_set_covers_the_true_number() -> None:
    """In 12 settings of seeds, scatter and gain the set contains the true number in at least 90 % of 300 studies."""
    print("\nImages saved, 300 studies: per cent covered, open above, median of high/low within the range")
    for seeds, (sd, gain) in product((2, 3, 5), ((0.01, 0.03), (0.02, 0.03), (0.01, 0.0), (0.004, 0.06))):
        number, slope = np.random.default_rng(seeds), 0.08
        means = 0.6 + slope * np.log(np.array([*IMAGES, 1000]) / 2000) + np.array([0, 0, 0, gain])
        true = 1000 * np.exp(gain / slope)
        found = []
        for _ in range(300):
            unit = np.eye(4)
            found.append(images_saved(Contrasts.of([cells(means, seeds, sd, number)]), unit[3], list(unit[:3]), IMAGES))
        covered = np.mean([each.low <= true <= each.high for each in found])
        ratio = np.median([min(each.high, 2000) / max(each.low, 400) for each in found])
        is_open = np.mean([np.isinf(each.high) for each in found])
        print(f"{seeds} seeds, sd {sd}, gain {gain}: {100 * covered:.1f} {100 * is_open:.0f} {ratio:.2f}")
        assert covered >= 0.9, (seeds, sd, gain)
