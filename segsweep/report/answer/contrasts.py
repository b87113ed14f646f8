"""Estimates of contrasts between cells, with intervals that cover training seeds and test images.

A contrast is a weighted sum of the cells' scores, such as the difference of two cells. Its variance has two parts: the choice of
training seeds and the choice of test images. Three C x C matrices hold both for all contrasts, so every interval is a product.

Each interval is a Cochran-Howe combination of two t intervals (Howe 1974, https://doi.org/10.1080/01621459.1974.10480178). The
variance over seeds, which few seeds determine badly, is moderated by that of the other cells (Smyth 2004,
https://doi.org/10.2202/1544-6115.1027). No random numbers are used. tests/report/answer/ measures the coverage by simulation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LEVEL = 0.95
MOST_PRIOR = 10.0  # degrees of freedom: no study of a few cells knows the variance over seeds better than this
LEAST_MODERATED = 4  # cells from which two seeds suffice for a verdict
OUTLYING = 0.995  # probability that no cell of a homogeneous study is called outlying
MOST_SEEDS = 30


@dataclass(frozen=True)
class Estimates:
    """Estimates of G contrasts with the half-widths of their intervals, each (G,)."""

    estimate: Floats
    half: Floats

    @property
    def low(self) -> Floats:
        """Lower ends of the intervals, (G,)."""
        return self.estimate - self.half

    @property
    def high(self) -> Floats:
        """Upper ends of the intervals, (G,)."""
        return self.estimate + self.half


@dataclass(frozen=True)
class Contrasts:
    """The scores of C cells, reduced to what contrasts between them need.

    Attributes:
        mean: (C,), mean score of each cell over units and images; the mean over folds of each fold's mean.
        of_seeds: (C, C), covariance of the means due to the units (training seeds, or source models).
        of_images: (C, C), covariance of the means due to the images, including what units and images have in common.
        of_rest: (C, C), the part of `of_images` that is due to units and images in common.
        freedom: Degrees of freedom of `of_seeds`; 0 with one unit and one fold.
        image_freedom: Degrees of freedom of `of_images`; 0 if folds are the units, which contain the chance of images.
        units: Number of units; with one unit and several folds, the number of folds.
        prior_freedom: Degrees of freedom of the prior of the variance over units; 0 for none.
        prior: Prior variance of the mean of one cell due to the units.
        scatter: (C,), each cell's own estimate of that variance, around the effect that the units have on all cells.
    """

    mean: Floats
    of_seeds: Floats
    of_images: Floats
    of_rest: Floats
    freedom: float
    image_freedom: float
    units: int
    prior_freedom: float
    prior: float
    scatter: Floats

    @classmethod
    def of(cls, folds: Sequence[Floats]) -> "Contrasts":
        """Return the contrasts of scores (C, S, N) of C cells, S units and N images: one array per fold, one without folds.

        With several folds, units and images are nested in them: the variance over units is that within folds. With one unit and
        several folds, each fold is one unit, as in a t test over folds.
        """
        if len(folds) > 1 and folds[0].shape[1] == 1:
            folds = [np.stack([fold.mean(axis=(1, 2)) for fold in folds], axis=1)[..., None]]
        count, (cells, units, _) = len(folds), folds[0].shape
        grand_FC = np.stack([fold.mean(axis=(1, 2)) for fold in folds])
        seeds_SC = np.concatenate([fold.mean(axis=2).T - grand for fold, grand in zip(folds, grand_FC, strict=True)])
        freedom = float(count * (units - 1))
        of_images, of_rest = np.zeros((cells, cells)), np.zeros((cells, cells))
        for fold, grand in zip(folds, grand_FC, strict=True):
            images, rest = _within(fold, grand)
            of_images, of_rest = of_images + images / count**2, of_rest + rest / count**2
        scatter = _scatter(seeds_SC, freedom) / (count * units) if freedom and cells > 1 else np.zeros(cells)
        prior_freedom, prior = _prior(scatter, freedom)
        return cls(
            mean=grand_FC.mean(axis=0),
            of_seeds=seeds_SC.T @ seeds_SC / max(freedom, 1) / (count * units),
            of_images=of_images,
            of_rest=of_rest,
            freedom=freedom,
            image_freedom=float(sum(fold.shape[2] - 1 for fold in folds)),
            units=units,
            prior_freedom=prior_freedom,
            prior=prior,
            scatter=scatter,
        )

    @property
    def decides(self) -> bool:
        """Whether the intervals support verdicts: they cover seeds, with more than one degree of freedom."""
        return self.freedom + self.prior_freedom > 1

    @cached_property
    def outlying(self) -> Flags:
        """Which cells (C,) vary over units so much more than the others that their contrasts use their own variance alone."""
        from scipy.special import fdtri

        if not self.prior_freedom or not self.prior:
            return np.zeros(len(self.mean), dtype=np.bool_)
        most = fdtri(self.freedom, self.prior_freedom, OUTLYING ** (1 / len(self.mean)))
        found: Flags = self.scatter / self.prior > most
        return found

    def estimates(self, weights: npt.ArrayLike, level: float = LEVEL, *, one_sided: bool = False) -> Estimates:
        """Return the estimates and intervals of contrasts with weights (G, C), each at `level` for itself.

        With one unit the intervals cover images alone; see `freedom`.
        """
        weights_GC = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        parts = self._parts(weights_GC)
        return Estimates(weights_GC @ self.mean, parts.half((1 - level) / (1 if one_sided else 2)))

    def family(self, weights: npt.ArrayLike, level: float = LEVEL) -> Estimates:
        """Return the estimates and intervals of contrasts with weights (G, C), all of them together at `level` (Šidák)."""
        weights_GC = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        return self.estimates(weights_GC, level ** (1 / len(weights_GC)))

    def p_value(self, weights: npt.ArrayLike) -> float:
        """Return the largest 1 - level whose interval of one contrast (C,) still contains 0."""
        from scipy.optimize import brentq

        weights_GC = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        estimate, parts = abs(float((weights_GC @ self.mean)[0])), self._parts(weights_GC)

        def beyond(log_p: float) -> float:
            return estimate - float(parts.half(float(np.exp(log_p)) / 2)[0])

        least, most = -30.0, -1e-9
        if beyond(most) <= 0:
            return 1.0
        return 0.0 if beyond(least) > 0 else float(np.exp(brentq(beyond, least, most, xtol=1e-12)))

    def units_needed(self, weights: npt.ArrayLike, level: float = LEVEL) -> int | None:
        """Return the least number of units with which the interval of one contrast (C,) would exclude 0, None above 30.

        It assumes that the estimate and the variances stay as they are. None if the units are folds, or a single seed.
        """
        weights_GC = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        estimate, parts = abs(float((weights_GC @ self.mean)[0])), self._parts(weights_GC)
        if not self.freedom or not self.image_freedom:
            return None
        for units in range(self.units, MOST_SEEDS + 1):
            more = parts.with_units(self.units, units, self.freedom)
            if more.half((1 - level) / 2)[0] < estimate:
                return units
        return None

    def pairs(self, level: float = LEVEL, *, one_sided: bool = False) -> Estimates:
        """Return all differences between two cells, (C, C): row minus column, each interval at `level` for itself."""

        def spread(of_cells: Floats) -> Floats:
            own = np.diag(of_cells)
            return own[:, None] + own[None, :] - 2 * of_cells

        own = np.add.outer(self.outlying, self.outlying)
        parts = self._moderated(spread(self.of_seeds), spread(self.of_images), spread(self.of_rest), np.float64(2), own)
        return Estimates(self.mean[:, None] - self.mean[None, :], parts.half((1 - level) / (1 if one_sided else 2)))

    def variances(self, weights: npt.ArrayLike) -> Floats:
        """Return the variances (G,) of the estimates of contrasts (G, C)."""
        parts = self._parts(np.atleast_2d(np.asarray(weights, dtype=np.float64)))
        return parts.seeds + parts.images

    def _parts(self, weights_GC: Floats) -> "_Parts":
        def product(of_cells: Floats) -> Floats:
            found: Floats = np.einsum("gc,cd,gd->g", weights_GC, of_cells, weights_GC)
            return found

        squares = (weights_GC**2).sum(axis=1)
        own = (weights_GC != 0) @ self.outlying > 0
        return self._moderated(product(self.of_seeds), product(self.of_images), product(self.of_rest), squares, own)

    def _moderated(self, seeds: Floats, images: Floats, rest: Floats, squares: Floats | np.float64, own: Flags) -> "_Parts":
        """Return the parts of variances; those over units are moderated, unless an outlying cell takes part (`own`)."""
        freedom = np.where(own, self.freedom, self.freedom + self.prior_freedom)
        if self.freedom:
            images = np.maximum(images - rest, 0)
            moderated = (self.prior_freedom * self.prior * squares + self.freedom * seeds) / (self.freedom + self.prior_freedom)
            seeds = np.where(own, seeds, moderated)
        else:
            seeds = np.zeros_like(seeds)
        return _Parts(seeds, images, freedom, self.image_freedom)


@dataclass(frozen=True)
class _Parts:
    """The two parts of the variance of estimates, and their degrees of freedom."""

    seeds: Floats
    images: Floats
    freedom: Floats
    image_freedom: float

    def half(self, tail: float) -> Floats:
        """Return the half-widths of intervals that leave out `tail` on each side."""
        from scipy.special import stdtrit

        seeds = np.where(self.freedom > 0, stdtrit(np.maximum(self.freedom, 1), 1 - tail), 0.0)
        images = stdtrit(self.image_freedom, 1 - tail) if self.image_freedom else 0.0
        half: Floats = np.sqrt(seeds**2 * self.seeds + images**2 * self.images)
        return half

    def with_units(self, now: int, then: int, freedom: float) -> "_Parts":
        """Return the parts that another number of units would give, at equal variance of one unit."""
        more = freedom * (then - now) / max(now - 1, 1)
        return _Parts(self.seeds * now / then, self.images, self.freedom + more, self.image_freedom)


def _within(fold_CSN: Floats, grand_C: Floats) -> tuple[Floats, Floats]:
    """Return the covariances (C, C) of the cells' means over images, and of the rest: what units and images have in common."""
    _, units, images = fold_CSN.shape
    if images == 1:
        return np.zeros((len(fold_CSN),) * 2), np.zeros((len(fold_CSN),) * 2)
    columns = fold_CSN.mean(axis=1) - grand_C[:, None]
    of_images = columns @ columns.T / (images - 1) / images
    if units == 1:
        return of_images, np.zeros_like(of_images)
    rows = fold_CSN.mean(axis=2)
    rest = (fold_CSN - rows[..., None] - columns[:, None, :]).reshape(len(fold_CSN), -1)
    return of_images, rest @ rest.T / ((units - 1) * (images - 1)) / (units * images)


def _scatter(seeds_SC: Floats, freedom: float) -> Floats:
    """Return the variance over units of each cell (C,), around the effect of the units on all cells."""
    cells = seeds_SC.shape[1]
    own = seeds_SC - seeds_SC.mean(axis=1, keepdims=True)
    variance: Floats = (own**2).sum(axis=0) / freedom * cells / (cells - 1)
    return variance


def _prior(scatter_C: Floats, freedom: float) -> tuple[float, float]:
    """Return the degrees of freedom and the variance of the prior, by the moments of the logarithms (Smyth 2004, section 6.2).

    The degrees of freedom are at most what the cells' scatter can determine, and 0 where verdicts shall not rest on it: below
    three cells, and with two units below four.
    """
    from scipy.optimize import brentq
    from scipy.special import digamma, polygamma

    cells = len(scatter_C)
    if not freedom or cells < 3 or (freedom == 1 and cells < LEAST_MODERATED) or not scatter_C.any():
        return 0.0, 0.0
    most = min(MOST_PRIOR, (cells - 1) * freedom / 2)
    logs = np.log(np.maximum(scatter_C, 1e-9 * scatter_C.max())) - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, freedom / 2))
    if excess <= polygamma(1, most / 2):
        return most, float(scatter_C.mean())
    half = float(brentq(lambda value: polygamma(1, value) - excess, 1e-6, most / 2))
    return 2 * half, float(np.exp(logs.mean() + digamma(half) - np.log(half)))


def helmert(levels: int) -> Floats:
    """Return the orthonormal contrasts (levels - 1, levels) of an axis: each level with the mean of those before it."""
    rows = np.zeros((levels - 1, levels))
    for number in range(1, levels):
        rows[number - 1, : number + 1] = np.array([*[1.0] * number, -number]) / np.sqrt(number * (number + 1))
    return rows
