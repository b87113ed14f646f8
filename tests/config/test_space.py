import numpy as np
import pytest

from segsweep.config.space import Choice, LogUniform, Uniform
from segsweep.errors import UserError

UNITS = np.random.default_rng(0).random(2000)


def values(space, units=UNITS):
    return [value for unit in units if (value := space.at(float(unit))) is not None]


@pytest.mark.parametrize(("low", "high"), [(1e-6, 1e-2), (1e-5, 1e-1), (1e-8, 1e3)])
def test_growing_a_log_range_keeps_its_points(low, high):
    """A wider range has all points of the narrower one, in the same order, and more outside it."""
    narrow, wide = values(LogUniform(1e-5, 1e-2)), values(LogUniform(low, high))
    assert [value for value in wide if 1e-5 <= value <= 1e-2] == narrow
    assert len(wide) > len(narrow)


def test_log_points_are_uniform_in_the_logarithm():
    """Each decade of a range has about equally many points, and every point is inside."""
    space = LogUniform(1e-5, 1e-2)
    found = np.array(values(space))
    assert ((found >= 1e-5) & (found <= 1e-2)).all()
    counts = np.histogram(np.log10(found), bins=[-5, -4, -3, -2])[0]
    assert counts.min() > 0.7 * counts.max()


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-1, 1), (1, 1), (1, 0.1), (1e-13, 1), (1, 1e5), (float("nan"), 1), (1e-3, float("nan"))]
)
def test_impossible_log_ranges_are_refused(low, high):
    """A range that is empty, reaches zero or leaves the sixteen decades raises with the limits."""
    with pytest.raises(UserError, match=r"LogUniform\(.*(needs 1e-12 <= low < high <= 1e4|not a finite number)"):
        LogUniform(low, high)


def test_impossible_uniform_ranges_are_refused():
    """An empty range raises with its ends."""
    for low, high in ((1, 1), (2, 1), (float("nan"), 1)):
        with pytest.raises(UserError, match=r"needs low < high|not a finite number"):
            Uniform(low, high)


def test_uniform_points_fill_the_range():
    """Points are evenly distributed between both ends."""
    found = np.array(values(Uniform(2, 6)))
    assert ((found >= 2) & (found <= 6)).all()
    assert np.histogram(found, bins=4)[0].min() > 0.8 * len(found) / 4


@pytest.mark.parametrize(
    ("space", "inside", "edge"),
    [(LogUniform(1e-5, 1e-2), 1e-3, (1e-5, 1.9e-5, 6e-3, 1e-2)), (Uniform(0, 10), 5, (0, 0.9, 9.1, 10))],
)
def test_the_edge_is_the_outer_tenth(space, inside, edge):
    """A value in the outer tenth of its range, on the range's scale, is at the edge; one in the middle is not."""
    assert not space.at_edge(inside)
    assert all(space.at_edge(value) for value in edge)


def test_a_choice_is_the_same_one_by_one_or_as_a_list():
    """Values may be separate arguments or a list; a text is one value."""
    assert Choice("adam", "adamw") == Choice(["adam", "adamw"])
    assert Choice("adam").values == ("adam",)


@pytest.mark.parametrize(
    ("listed", "edge"),
    [
        (Choice(1e-4, 1e-3, 1e-2), {1e-4, 1e-2}),
        (Choice(1e-2, 1e-4, 1e-3, 1), {1e-4, 1}),
        (Choice(1e-4, 1e-2), set()),
        (Choice("adam", "adamw", "sgd"), set()),
        (Choice(None, 0.99, 0.999), set()),
    ],
)
def test_the_edge_of_listed_numbers_is_the_lowest_and_the_highest(listed, edge):
    """Of at least three listed numbers the lowest and highest are at an edge, in any order; texts have none."""
    assert {value for value in listed.values if listed.at_edge(value)} == edge


@pytest.mark.parametrize("wrong", [(), ([],), ("a", "a"), (["a", "b", "a"],)])
def test_a_choice_needs_different_values(wrong):
    """A choice without values, or with a value twice, is refused."""
    with pytest.raises(UserError, match="at least one value, none of them twice"):
        Choice(*wrong)


def test_a_range_is_checked_with_a_value_between_its_ends():
    """One of the values that check a study is not a whole number, since points are not."""
    for space in (LogUniform(8, 508), Uniform(0, 1000)):
        assert any(value != int(value) for value in space.samples())
        assert all(space.contains(value) for value in space.samples())
