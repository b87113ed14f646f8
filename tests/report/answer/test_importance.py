"""Shares of compared axes in the differences between cells."""

from itertools import product

import numpy as np
import pytest

from segsweep.report.answer.complete_grid import complete_grid
from segsweep.report.answer.contrasts import Contrasts
from segsweep.report.answer.importance import Importance, importance

Floats = np.ndarray
AXES = {"source": "abc", "architecture": "uv", "freeze": "no", "fraction": "123"}
GRID = list(product(*AXES.values()))
LEVELS = dict(zip(AXES, map(list, zip(*GRID, strict=True)), strict=True))
TRUE = np.array(
    [
        0.04 * "abc".index(source) - 0.03 * (freeze == "o") + 0.03 * int(fraction) + 0.02 * (source == "a") * (freeze == "o")
        for source, _, freeze, fraction in GRID
    ]
)


def scores(means: Floats, number: np.random.Generator, seeds: int = 3, images: int = 60) -> Floats:
    """Return scores (C, S, N) of cells with these means, with chance of seeds and images."""
    cells = len(means)
    own = number.normal(0, 0.02, (cells, seeds, 1)) + number.normal(0, 0.05, (cells, 1, images))
    rest = number.normal(0, 0.06, (cells, seeds, images)) + number.normal(0, 0.2, (1, 1, images))
    found: Floats = means[:, None, None] + own + rest
    return found


def found_in(levels: dict[str, list[str]], of_cells: Floats) -> Importance:
    found = importance(levels, Contrasts.of([of_cells]))
    assert found is not None
    return found


def true_shares() -> dict[tuple[str, ...], float]:
    """Return the shares of effects by means over levels, as an analysis of variance without chance."""
    table = TRUE.reshape(3, 2, 2, 3)
    centred = table - table.mean()
    squares, effects = {}, {}
    names = list(AXES)
    for effect in [(), *((name,) for name in names), *((one, two) for k, one in enumerate(names) for two in names[k + 1 :])]:
        others = tuple(position for position, name in enumerate(names) if name not in effect)
        part = centred.mean(axis=others, keepdims=True)
        effects[effect] = part - sum(found for smaller, found in effects.items() if set(smaller) < set(effect))
        squares[effect] = float((np.broadcast_to(effects[effect], table.shape) ** 2).sum())
    return {effect: value / (centred**2).sum() for effect, value in squares.items() if effect}


def test_shares_without_chance_are_those_of_an_analysis_of_variance() -> None:
    """Without chance, shares of axes and pairs equal those from means over levels, and the rest is 0."""
    found = found_in(LEVELS, np.repeat(TRUE[:, None, None], 2, axis=1) + np.zeros((1, 1, 3)))
    expected = true_shares()
    assert {effect.axes: effect.share for effect in found.effects if effect.axes} == pytest.approx(expected, abs=1e-12)
    assert found.effects[-1].axes == ()
    assert found.effects[-1].share == pytest.approx(0, abs=1e-12)
    assert found.chance == pytest.approx(0, abs=1e-12)


def test_shares_are_near_the_truth_and_sum_to_one() -> None:
    """With seeds and images the mean share over 30 studies of 36 cells lies within 5 points of the truth, and shares sum to 1.

    Without the subtraction of chance the rest would have a share above 5 %.
    """
    number, expected, totals = np.random.default_rng(0), true_shares(), {}
    for _ in range(30):
        found = found_in(LEVELS, scores(TRUE, number))
        assert sum(effect.share for effect in found.effects) == pytest.approx(1)
        assert [effect.share for effect in found.effects[:-1]] == sorted(
            (effect.share for effect in found.effects[:-1]), reverse=True
        )
        for effect in found.effects:
            totals[effect.axes] = totals.get(effect.axes, 0.0) + effect.share / 30
    assert all(abs(totals[effect] - share) < 0.05 for effect, share in expected.items())
    assert totals[()] < 0.02


def test_chance_alone_has_no_shares() -> None:
    """Where cells differ by chance alone it explains most of the squares; equal cells have neither shares nor chance."""
    assert found_in(LEVELS, scores(np.zeros(36), np.random.default_rng(2))).chance > 0.6
    equal = found_in(LEVELS, np.ones((36, 2, 3)) / 3)
    assert equal.chance == 0
    assert {effect.share for effect in equal.effects} == {0.0}


def test_the_largest_difference_is_that_of_two_levels() -> None:
    """Beside each axis stands the difference of its best and worst level, averaged over the rest, with a joint interval."""
    of_cells = scores(TRUE, np.random.default_rng(1))
    contrasts = Contrasts.of([of_cells])
    found = {effect.axes: effect.largest for effect in found_in(LEVELS, of_cells).effects}
    means = {level: np.mean([m for m, row in zip(contrasts.mean, GRID, strict=True) if row[0] == level]) for level in "abc"}
    source = found["source",]
    assert source is not None
    assert (source.high, source.low) == ("c", "a")
    assert source.estimate == pytest.approx(means["c"] - means["a"])
    weights = [{"c": 1, "a": -1}.get(row[0], 0) / 12 for row in GRID]
    assert source.half == pytest.approx(contrasts.estimates(weights, 0.95 ** (1 / 3)).half[0])
    freeze = found["freeze",]
    assert freeze is not None
    assert (freeze.high, freeze.low) == ("n", "o")
    assert found["source", "freeze"] is None


def test_a_union_of_grids_uses_its_largest_complete_part() -> None:
    """Cells outside the largest complete grid change nothing, and the levels that are left out are named."""
    more = {axis: [*values, extra] for (axis, values), extra in zip(LEVELS.items(), ("random", "u", "n", "3"), strict=True)}
    of_cells = scores(np.append(TRUE, 5.0), np.random.default_rng(1))
    found = found_in(more, of_cells)
    assert found.grid.left_out == {"source": ("random",)}
    assert found.grid.cells.ravel().tolist() == list(range(36))
    assert found.effects[0].axes == ("source",)
    assert found.effects[0].share < 0.7


def test_constant_axes_are_absent() -> None:
    """An axis with one level has no effect; with a single level of every axis there is nothing to explain."""
    found = found_in({**LEVELS, "loss": ["ce"] * 36}, scores(TRUE, np.random.default_rng(1)))
    assert all("loss" not in effect.axes for effect in found.effects)
    assert importance({"source": ["a"]}, Contrasts.of([np.ones((1, 3, 4))])) is None
    two = found_in({"source": ["a", "b"]}, scores(np.array([0.0, 0.3]), np.random.default_rng(1)))
    assert [effect.axes for effect in two.effects] == [("source",)]


def test_the_largest_complete_grid_is_found() -> None:
    """The grid is complete and has the most cells that any choice of levels gives, by trying all choices."""
    number = np.random.default_rng(0)
    for _ in range(40):
        rows = [row for row in product("abc", "uv", "123") if number.random() < 0.7]
        found = complete_grid({name: list(values) for name, values in zip("xyz", zip(*rows, strict=True), strict=True)})
        assert {rows[cell] for cell in found.cells.ravel()} == set(product(*found.levels.values()))
        choices = product(*([set(part) for part in _subsets(axis)] for axis in ("abc", "uv", "123")))
        largest = max(len(x) * len(y) * len(z) for x, y, z in choices if set(product(x, y, z)) <= set(rows))
        assert found.cells.size == largest


def _subsets(axis: str) -> list[str]:
    return ["".join(level for bit, level in enumerate(axis) if number >> bit & 1) for number in range(1, 2 ** len(axis))]


def test_cells_with_the_same_levels_are_rejected() -> None:
    """Levels that do not tell two cells apart are an error that names both."""
    with pytest.raises(ValueError, match=r"cells 0 and 1: have the same levels \('a',\); name the axis that they differ in"):
        complete_grid({"source": ["a", "a"]})
