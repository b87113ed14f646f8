"""Scales map values to positions, and label round numbers."""

import math
from itertools import pairwise

import pytest

from segsweep.report.page.number_text import decimals_of, interval_text, signed
from segsweep.report.page.scales import linear, logarithmic, nice_ticks


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 8.9), (49.81, 49.86), (-1e-7, 1e-7), (0, 123456)])
@pytest.mark.parametrize("count", [3, 6])
def test_ticks_are_round_few_and_inside(low: float, high: float, count: int) -> None:
    """Ticks lie within the range at steps of 1, 2 or 5 times a power of ten; at most a third and one more than asked for."""
    ticks = nice_ticks(low, high, count)
    steps = {round((second - first) / 10 ** math.floor(math.log10(second - first) + 1e-9)) for first, second in pairwise(ticks)}
    assert low <= ticks[0] <= ticks[-1] <= high
    assert 1 <= len(ticks) <= count / 0.75 + 1
    assert steps <= {1, 2, 5}


def test_a_linear_scale_includes_all_values_and_clips_others() -> None:
    """Finite values lie inside the ends in order; infinite ones lie at an end; NaN does not count."""
    scale = linear([1.0, 3.0, math.nan, math.inf], 10, 110)
    assert 10 < scale(1) < scale(2) < scale(3) < 110
    assert (scale(-math.inf), scale(math.inf)) == (10, 110)


def test_equal_values_still_make_a_scale() -> None:
    """One value lies in the middle."""
    assert linear([5.0], 0, 100)(5.0) == pytest.approx(50)
    assert logarithmic([8.0], 0, 100)(8.0) == pytest.approx(50)


def test_a_logarithmic_scale_has_equal_steps_for_equal_ratios() -> None:
    """Doubling the images moves equally far; the ticks are the numbers of images that have room."""
    images = [60, 120, 240, 480, 960]
    scale = logarithmic(images, 0, 400, at=images, ticks=9)
    gaps = [scale(second) - scale(first) for first, second in pairwise(images)]
    assert gaps == pytest.approx([gaps[0]] * 4)
    assert scale.tick_texts == ("60", "120", "240", "480", "960")
    assert logarithmic(images, 0, 400, at=images, ticks=3).ticks == (60, 240, 960)


@pytest.mark.parametrize(
    ("values", "texts"),
    [([1e-4, 1e-2], ("0.0001", "0.001", "0.01")), ([1e-6, 1e-2], ("1e-6", "1e-4", "1e-2")), ([1000, 2000], ("1,000", "2,000"))],
)
def test_logarithmic_ticks_are_written_alike(values: list[float], texts: tuple[str, ...]) -> None:
    """Small rates are all written as powers, larger ones all as plain numbers."""
    assert logarithmic(values, 0, 100, ticks=3).tick_texts == texts


def test_numbers_have_a_minus_sign_and_zero_has_none() -> None:
    """Differences have a sign, zero and what is rounded to it have none; a narrow interval has a second decimal."""
    assert [signed(value) for value in (1.25, -1.25, 0.0, -0.04)] == ["+1.2", "−1.2", "0.0", "0.0"]
    assert signed(-0.04, 2, plus=False) == "−0.04"
    assert (decimals_of(0.29), decimals_of(0.3)) == (2, 1)


def test_open_intervals_are_words() -> None:
    """An infinite end is "at least" or "at most"; an unknown interval says so."""
    ends = [(1.0, 2.0), (1.0, math.inf), (-math.inf, -2.0), (-math.inf, math.inf), (math.nan, math.nan)]
    assert [interval_text(each) for each in ends] == ["1.0 to 2.0", "at least 1.0", "at most −2.0", "unlimited", "unknown"]
