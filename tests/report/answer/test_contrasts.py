"""Contrasts of cells: estimates and intervals from three matrices equal those from the scores themselves."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import special, stats

from segsweep.report.answer.contrasts import Contrasts, helmert

Floats = np.ndarray
SIZES = [(5, 3, 20), (4, 2, 9), (3, 2, 9), (2, 3, 6), (36, 5, 12), (8, 10, 30), (6, 1, 15)]


def scores(cells: int, units: int, images: int, seed: int = 0, sd: float = 0.03) -> Floats:
    """Return scores (C, S, N) with chance of cells, units, images and rest, of unlike size between the cells."""
    number = np.random.default_rng(seed)
    unlike = np.exp(number.normal(0, 0.3, (cells, 1, 1)))
    shared = number.normal(0, 0.2, (1, 1, images)) + number.normal(0, 0.02, (1, units, 1))
    own = unlike * number.normal(0, sd, (cells, units, 1)) + number.normal(0, 0.04, (cells, 1, images))
    found: Floats = 0.6 + number.normal(0, 0.05, (cells, 1, 1)) + shared + own + number.normal(0, 0.06, (cells, units, images))
    return found


def variances_of(difference_SN: Floats) -> tuple[float, float, float]:
    """Return the mean squares of a contrast's own scores (S, N) divided by S N: over units, over images, of the rest."""
    units, images = difference_SN.shape
    mean, seeds, columns = difference_SN.mean(), difference_SN.mean(axis=1), difference_SN.mean(axis=0)
    over_units = sum((value - mean) ** 2 for value in seeds) / (units - 1) / units if units > 1 else 0.0
    over_images = sum((value - mean) ** 2 for value in columns) / (images - 1) / images
    rest = 0.0
    if units > 1:
        cells = (difference_SN[s, n] - seeds[s] - columns[n] + mean for s in range(units) for n in range(images))
        rest = sum(value**2 for value in cells) / ((units - 1) * (images - 1)) / (units * images)
    return over_units, over_images, rest


def expected_half(contrasts: Contrasts, difference_SN: Floats, squares: float, tail: float) -> float:
    """Return the half-width by section 3 of the method, for a study without outlying cells."""
    units, images = difference_SN.shape
    over_units, over_images, rest = variances_of(difference_SN)
    if units == 1:
        return float(stats.t.isf(tail, images - 1) * np.sqrt(over_images))
    freedom = contrasts.prior_freedom + units - 1
    moderated = (contrasts.prior_freedom * contrasts.prior * squares + (units - 1) * over_units) / freedom
    return float(
        np.sqrt(stats.t.isf(tail, freedom) ** 2 * moderated + stats.t.isf(tail, images - 1) ** 2 * max(over_images - rest, 0))
    )


def some_weights(cells: int) -> list[Floats]:
    """Return a single cell, a difference, and a cell against the mean of the others."""
    unit = np.eye(cells)
    return [unit[0], unit[1] - unit[0], unit[-1] - (1 - unit[-1]) / (cells - 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("one_sided", [False, True])
def test_products_of_matrices_equal_the_computation_on_scores(size: tuple[int, int, int], one_sided: bool) -> None:
    """Estimate and half-width of a contrast equal those computed from the weighted sum of the cells' scores."""
    of_cells = scores(*size)
    contrasts = Contrasts.of([of_cells])
    assert not contrasts.outlying.any()
    weights = np.stack(some_weights(size[0]))
    found = contrasts.estimates(weights, 0.9, one_sided=one_sided)
    for row, estimate, half in zip(weights, found.estimate, found.half, strict=True):
        direct = np.einsum("c,csn->sn", row, of_cells)
        assert estimate == pytest.approx(direct.mean(), rel=0, abs=1e-12)
        tail = 0.1 if one_sided else 0.05
        assert half == pytest.approx(expected_half(contrasts, direct, (row**2).sum(), tail), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_all_pairs_equal_single_contrasts(size: tuple[int, int, int]) -> None:
    """Differences of all pairs at once equal the contrast of each pair, also where outlying cells use their own variance."""
    for of_cells in (scores(*size), scores(*size) * np.array([20.0, *[1.0] * (size[0] - 1)])[:, None, None]):
        contrasts = Contrasts.of([of_cells])
        pairs, unit = contrasts.pairs(0.99), np.eye(size[0])
        for one, other in combinations(range(min(size[0], 5)), 2):
            single = contrasts.estimates(unit[one] - unit[other], 0.99)
            assert pairs.estimate[one, other] == pytest.approx(single.estimate[0], rel=0, abs=1e-12)
            assert pairs.half[one, other] == pytest.approx(single.half[0], rel=1e-9)
        assert np.diag(pairs.estimate) == pytest.approx(0)


@pytest.mark.parametrize("size", SIZES)
def test_p_inverts_the_interval(size: tuple[int, int, int]) -> None:
    """The interval at level 1 - p ends at 0; a family's level is that of each contrast to the power of their number."""
    contrasts = Contrasts.of([scores(*size)])
    for weights in some_weights(size[0])[1:]:
        found = contrasts.estimates(weights, 1 - contrasts.p_value(weights))
        assert abs(found.estimate[0]) == pytest.approx(found.half[0], rel=0, abs=1e-9)
    together = contrasts.family(np.stack(some_weights(size[0])), 0.9)
    assert together.half == pytest.approx(contrasts.estimates(np.stack(some_weights(size[0])), 0.9 ** (1 / 3)).half)


def test_p_is_1_without_a_difference_and_0_without_chance() -> None:
    """Equal cells have p = 1; a difference without any scatter has p = 0."""
    equal = np.repeat(scores(1, 3, 9), 4, axis=0)
    assert Contrasts.of([equal]).p_value([1, -1, 0, 0]) == 1
    assert Contrasts.of([equal + np.arange(4.0)[:, None, None]]).p_value([1, -1, 0, 0]) == 0


def limmas_prior(variances: Floats, freedom: float) -> tuple[float, float]:
    """Return the degrees of freedom and scale of variances by limma's `fitFDist`, with Newton's iteration for trigamma."""
    logs = np.log(variances) - special.psi(freedom / 2) + np.log(freedom / 2)
    excess = logs.var(ddof=1) - special.zeta(2, freedom / 2)  # trigamma(x) is Hurwitz's zeta(2, x)
    if excess <= 0:
        return np.inf, float(variances.mean())
    half = 0.5 + 1 / excess
    for _ in range(60):
        trigamma = special.zeta(2, half)
        half += trigamma * (1 - trigamma / excess) / (-2 * special.zeta(3, half))
    return 2 * half, float(np.exp(logs.mean() + special.psi(half) - np.log(half)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("cells", "units"), [(4, 2), (5, 3), (36, 3), (36, 5)])
def test_the_prior_is_limmas_up_to_its_cap(cells: int, units: int, seed: int) -> None:
    """Degrees of freedom and variance of the prior are those of limma's moments; where they exceed the cap, the plain mean."""
    of_cells = scores(cells, units, 8, seed) * np.exp(np.random.default_rng(seed).normal(0, 0.8, (cells, 1, 1)))
    contrasts, of_units = Contrasts.of([of_cells]), of_cells.mean(axis=2)
    around = of_units - of_units.mean(axis=1, keepdims=True)
    around = around - around.mean(axis=0)
    scatter = (around**2).sum(axis=1) / (units - 1) * cells / (cells - 1) / units
    freedom, variance = limmas_prior(scatter, units - 1)
    cap = min(10, (cells - 1) * (units - 1) / 2)
    assert contrasts.scatter == pytest.approx(scatter)
    assert contrasts.prior_freedom == pytest.approx(min(freedom, cap), rel=1e-6)
    assert contrasts.prior == pytest.approx(variance if freedom < cap else scatter.mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("size", "moderated", "decides"),
    [((6, 1, 9), False, False), ((3, 2, 9), False, False), ((4, 2, 9), True, True), ((2, 3, 9), False, True)],
)
def test_few_units_decide_only_with_a_prior(size: tuple[int, int, int], moderated: bool, decides: bool) -> None:
    """One unit decides nothing, two decide from four cells, which give a prior; three decide with and without one."""
    contrasts = Contrasts.of([scores(*size)])
    assert (contrasts.prior_freedom > 0) == moderated
    assert contrasts.decides == decides


def test_two_units_without_a_prior_use_their_own_t() -> None:
    """With two units and three cells the interval over units has one degree of freedom."""
    of_cells = scores(3, 2, 400, sd=0.5)
    half = Contrasts.of([of_cells]).estimates([1, -1, 0]).half[0]
    over_units = np.diff((of_cells[0] - of_cells[1]).mean(axis=1))[0] ** 2 / 4
    assert half == pytest.approx(12.706 * np.sqrt(over_units), rel=0.01)


def test_units_needed_is_the_first_that_decides() -> None:
    """The number of units is the first whose interval excludes 0 at equal variances; None above 30, for one unit and folds."""
    contrasts, seen = Contrasts.of([scores(5, 3, 40, seed=3)]), set()
    direct = scores(5, 3, 40, seed=3)[0] - scores(5, 3, 40, seed=3)[1]
    over_units, over_images, rest = variances_of(direct)
    freedom = contrasts.prior_freedom + 2
    moderated = (contrasts.prior_freedom * contrasts.prior * 2 + 2 * over_units) / freedom
    for difference in (0.5, 0.05, 0.04, 0.03, 0.02, 0.01, 0.002):
        shifted = replace(contrasts, mean=np.array([difference, 0, 0, 0, 0]))
        halves = [
            np.sqrt(
                stats.t.isf(0.025, freedom + units - 3) ** 2 * moderated * 3 / units
                + stats.t.isf(0.025, 39) ** 2 * max(over_images - rest, 0)
            )
            for units in range(3, 31)
        ]
        expected = next((units for units, half in enumerate(halves, 3) if half < difference), None)
        assert shifted.units_needed([1, -1, 0, 0, 0]) == expected
        seen.add(expected)
    assert {3, None} < seen
    assert Contrasts.of([scores(5, 1, 40)]).units_needed([1, -1, 0, 0, 0]) is None


def test_the_best_are_those_that_no_other_beats() -> None:
    """A cell may be the best unless another is above it by more than the one-sided half-width at level .95^(1 / (C - 1))."""
    unit, level, two_sided = np.eye(8), 0.95 ** (1 / 7), 0
    for seed in range(12):
        contrasts, expected = Contrasts.of([scores(8, 5, 60, seed)]), []
        for cell in range(8):
            others = unit[np.arange(8) != cell] - unit[cell]
            expected.append(bool((contrasts.estimates(others, level, one_sided=True).low <= 0).all()))
            two_sided += expected[-1] != bool((contrasts.estimates(others, level).low <= 0).all())
        assert contrasts.best().tolist() == expected
    assert two_sided > 0
    assert Contrasts.of([scores(1, 3, 9)]).best().tolist() == [True]


def test_helmert_contrasts_are_orthonormal() -> None:
    """The contrasts of an axis sum to 0, have length 1 and are orthogonal."""
    for levels in (1, 2, 5):
        rows = helmert(levels)
        assert rows @ rows.T == pytest.approx(np.eye(levels - 1))
        assert rows.sum(axis=1) == pytest.approx(np.zeros(levels - 1))


def test_an_outlying_cell_brings_its_own_scatter_and_degrees_of_freedom() -> None:
    """A cell with ten times the scatter is outlying: it widens differences to it, and none between the other cells."""
    of_cells = scores(8, 3, 30, sd=0.02)
    of_cells[2] += 10 * (of_cells[2].mean(axis=1) - of_cells[2].mean())[:, None]
    contrasts, unit = Contrasts.of([of_cells]), np.eye(8)
    assert np.flatnonzero(contrasts.outlying).tolist() == [2]
    found = contrasts.estimates([unit[0] - unit[1], unit[2] - unit[1]]).half
    assert found[0] == pytest.approx(expected_half(contrasts, of_cells[0] - of_cells[1], 2, 0.025))
    over_units, over_images, rest = variances_of(of_cells[2] - of_cells[1])
    prior, before = contrasts.scatter[2] + contrasts.prior, contrasts.prior_freedom
    share = contrasts.scatter[2] / prior
    freedom = 1 / ((1 - share) ** 2 / (before + 2) + share**2 / 2)
    moderated = (before * prior + 2 * over_units) / (before + 2)
    squared = stats.t.isf(0.025, freedom) ** 2 * moderated + stats.t.isf(0.025, 29) ** 2 * max(over_images - rest, 0)
    assert found[1] == pytest.approx(np.sqrt(squared))
    assert found[1] > 1.2 * expected_half(contrasts, of_cells[2] - of_cells[1], 2, 0.025)


def test_a_cell_is_outlying_by_the_prior_of_the_others() -> None:
    """A cell is outlying if its scatter exceeds the F quantile at .8^(1 / C) times the prior of the other cells."""
    differs = 0
    for seed in range(12):
        of_cells = scores(12, 5, 8, seed) * np.exp(np.random.default_rng(seed).normal(0, 1, (12, 1, 1)))
        contrasts = Contrasts.of([of_cells])
        for cell, own in enumerate(contrasts.scatter):
            freedom, variance = limmas_prior(np.delete(contrasts.scatter, cell), 4)
            prior = variance if freedom < 10 else np.delete(contrasts.scatter, cell).mean()
            expected = own > prior * stats.f.ppf(0.8 ** (1 / 12), 4, min(freedom, 10))
            assert contrasts.outlying[cell] == expected
            differs += expected != (own > contrasts.prior * stats.f.ppf(0.8 ** (1 / 12), 4, contrasts.prior_freedom))
    assert differs > 0


def test_folds_are_the_units() -> None:
    """With folds of any size the interval is that of a t test over folds; seeds and images of a fold count through its mean."""
    folds = [scores(2, 3, images, seed) for seed, images in enumerate((5, 6, 5, 7))]
    contrasts = Contrasts.of(folds)
    of_folds = np.array([fold[0].mean() - fold[1].mean() for fold in folds])
    found = contrasts.estimates([1, -1])
    assert found.estimate[0] == pytest.approx(of_folds.mean())
    assert found.half[0] == pytest.approx(stats.t.isf(0.025, 3) * of_folds.std(ddof=1) / 2)
    assert (contrasts.freedom, contrasts.image_freedom, contrasts.units) == (3, 0, 4)
    assert contrasts.units_needed([1, -1]) is None
    one_seed = Contrasts.of([fold[:, :1] for fold in folds])
    assert one_seed.estimates([1, -1]).estimate[0] == pytest.approx(
        np.mean([fold[0, 0].mean() - fold[1, 0].mean() for fold in folds])
    )


def test_repetitions_of_folds_share_their_images() -> None:
    """Repeating cross-validation does not shrink the interval: its variance is the mean over repetitions of that of one."""
    folds = [scores(2, 1, 6, seed) for seed in range(6)]
    contrasts = Contrasts.of(folds, repetitions=[1, 1, 2, 2, 3, 3])
    of_folds = np.array([fold[0].mean() - fold[1].mean() for fold in folds]).reshape(3, 2)
    variance = of_folds.var(axis=1, ddof=1).mean() / 2
    assert contrasts.estimates([1, -1]).half[0] == pytest.approx(stats.t.isf(0.025, 3) * np.sqrt(variance))
    assert Contrasts.of(folds[:4], repetitions=[1, 1, 1, 1]).freedom == Contrasts.of(folds[:4]).freedom == 3
    assert Contrasts.of(folds[:1], repetitions=[1]).freedom == 0
