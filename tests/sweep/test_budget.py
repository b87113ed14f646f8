"""The shares of cells: how many tuning points and confirmed seeds fit a budget."""

from itertools import pairwise

import pytest

from segsweep.sweep.budget import Limits, Share, growth, largest, least_share

DECLARED = Share(8, 3)


def test_the_least_share_has_one_point_and_two_seeds() -> None:
    """A study with fewer points or seeds needs only those; seeds that are confirmed together count as a whole."""
    assert least_share(DECLARED, 1) == Share(1, 2)
    assert least_share(Share(1, 1), 1) == Share(1, 1)
    assert least_share(Share(0, 3), 1) == Share(0, 2)
    assert least_share(Share(8, 6), 3) == Share(1, 3)


def test_points_and_seeds_grow_in_proportion() -> None:
    """The smaller part of the declared number grows first, so that neither tuning nor confirmation takes the whole budget."""
    grown = [(share.points, share.seeds) for share in growth(Share(3, 2), DECLARED, 1)]
    assert grown == [(3, 2), (4, 2), (5, 2), (6, 2), (6, 3), (7, 3), (8, 3)]


@pytest.mark.parametrize(("declared", "step"), [(Share(0, 5), 1), (Share(4, 6), 2), (Share(12, 2), 2), (Share(3, 1), 1)])
def test_growth_ends_at_the_declared_share(declared: Share, step: int) -> None:
    """Every share has one more point or one more group of seeds than the one before it, whatever the study declares."""
    grown = list(growth(least_share(declared, step), declared, step))
    assert grown[-1] == declared
    for before, after in pairwise(grown):
        assert (after.points - before.points, after.seeds - before.seeds) in {(1, 0), (0, step)}


def test_the_largest_share_is_the_last_before_one_that_does_not_fit() -> None:
    """Nothing is returned if not even the first fits."""
    shares = list(growth(Share(3, 2), DECLARED, 1))
    assert largest(shares, lambda share: share.points + share.seeds <= 8) == Share(6, 2)
    assert largest(shares, lambda _: False) is None
    assert largest(shares, lambda _: True) == DECLARED


def test_limits_are_true_if_there_is_one() -> None:
    """A budget of nothing and a deadline in 1970 are limits too."""
    assert not Limits()
    assert Limits(0.0)
    assert Limits(ends_at=0.0)
