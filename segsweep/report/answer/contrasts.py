"""Estimates of contrasts between cells, with intervals that cover training seeds and test images.

A contrast is a weighted sum of the cells' scores, such as the difference of two cells. Its variance has two parts: the choice of
training seeds and the choice of test images. Three C x C matrices hold both for all contrasts, so every interval is a product.

Each interval is a Cochran-Howe combination of two t intervals (Howe 1974, https://doi.org/10.1080/01621459.1974.10480178). The
variance over seeds, which few seeds determine badly, is moderated by that of the other cells (Smyth 2004,
https://doi.org/10.2202/1544-6115.1027). No random numbers are used. tests/report/answer/ measures the coverage by simulation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LEVEL = 0.95
MOST_PRIOR = 10.0  # degrees of freedom: no study of a few cells knows the variance over seeds better than this
LEAST_MODERATED = 4  # cells from which two seeds suffice for a verdict
OUTLYING = 0.8  # least probability that no cell is outlying where all vary alike; tests/report/answer/ compares others
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
        mean: (C,), mean score of each cell over units and images; with folds, the mean over folds of each fold's mean.
        of_seeds: (C, C), covariance of the means due to the units (training seeds, source models, or folds).
        of_images: (C, C), covariance of the means due to the images, including what units and images have in common.
        of_rest: (C, C), the part of `of_images` that is due to units and images in common.
        freedom: Degrees of freedom of `of_seeds`; 0 with one unit.
        image_freedom: Degrees of freedom of `of_images`; 0 if folds are the units, which contain the chance of images.
        units: Number of units; with several folds, the number of folds of one repetition.
        prior_freedom: Degrees of freedom of the prior of the variance over units; 0 for none.
        prior: Prior variance of the mean of one cell due to the units.
        scatter: (C,), each cell's own estimate of that variance, around the effect that the units have on all cells.
        covers_images: Whether intervals cover new images; one image says nothing on others.
        level: Level of intervals for which no other is given.
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
    covers_images: bool
    level: float = LEVEL

    @classmethod
    def of(cls, folds: Sequence[Floats], repetitions: Sequence[int] | None = None, level: float = LEVEL) -> "Contrasts":
        """Return the contrasts of scores (C, S, N) of C cells, S units and N images: one array per fold, one without folds.

        Several folds are the units, each with its mean over seeds and images. They differ in training images, chosen settings,
        training chance and test images, so that their spread contains all of these. What folds have in common, because they
        share training images, is in no interval (Bengio and Grandvalet 2004, https://jmlr.org/papers/v5/grandvalet04a.html).

        `repetitions` are the numbers of the repetition that each fold belongs to, if cross-validation is repeated. Repetitions
        test the same images, so the variance is that between the folds of one repetition, estimated from all.
        """
        scores = folds[0] if len(folds) == 1 else np.stack([fold.mean(axis=(1, 2)) for fold in folds], axis=1)[..., None]
        mean, of_units = scores.mean(axis=(1, 2)), scores.mean(axis=2)
        groups = np.zeros(scores.shape[1]) if repetitions is None or len(folds) == 1 else np.asarray(repetitions)
        parts = [of_units[:, groups == group] for group in np.unique(groups)]
        deviations = np.concatenate([part - part.mean(axis=1, keepdims=True) for part in parts], axis=1)
        units, freedom = min(part.shape[1] for part in parts), float(deviations.shape[1] - len(parts))
        of_images, of_rest = _of_images(scores, mean)
        scatter = _scatter(deviations, freedom) / units
        prior_freedom, prior = _prior(scatter, freedom)
        return cls(
            mean=mean,
            of_seeds=deviations @ deviations.T / max(freedom, 1) / units,
            of_images=of_images,
            of_rest=of_rest,
            freedom=freedom,
            image_freedom=float(scores.shape[2] - 1),
            units=units,
            prior_freedom=prior_freedom,
            prior=prior,
            scatter=scatter,
            covers_images=len(folds) > 1 or scores.shape[2] > 1,
            level=level,
        )

    @property
    def decides(self) -> bool:
        """Whether the intervals support verdicts: they cover images, and seeds with more than one degree of freedom."""
        return self.covers_images and self.freedom + self.prior_freedom > 1

    @cached_property
    def outlying(self) -> Flags:
        """Which cells (C,) vary over units so much more than the others that the prior of the others does not hold for them.

        Their own scatter takes the place of the prior, with its own degrees of freedom. The prior of the other cells is not
        changed, so this rule makes no interval narrower.
        """
        from scipy.special import fdtri

        found = np.zeros(len(self.mean), dtype=np.bool_)
        for cell in np.flatnonzero(self.scatter > self.prior) if self.prior_freedom else ():
            freedom, prior = _prior(np.delete(self.scatter, cell), self.freedom)
            if freedom:
                found[cell] = self.scatter[cell] > prior * fdtri(self.freedom, freedom, OUTLYING ** (1 / len(self.mean)))
        return found

    def estimates(self, weights: npt.ArrayLike, level: float | None = None, *, one_sided: bool = False) -> Estimates:
        """Return the estimates and intervals of contrasts with weights (G, C), each at `level` for itself.

        With one unit the intervals cover images alone; see `freedom`.
        """
        weights_GC = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        parts = self._parts(weights_GC)
        return Estimates(weights_GC @ self.mean, parts.half((1 - (level or self.level)) / (1 if one_sided else 2)))

    def family(self, weights: npt.ArrayLike, level: float | None = None) -> Estimates:
        """Return the estimates and intervals of contrasts with weights (G, C), all of them together at `level` (Šidák)."""
        weights_GC = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        return self.estimates(weights_GC, (level or self.level) ** (1 / len(weights_GC)))

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

    def units_needed(self, weights: npt.ArrayLike, level: float | None = None) -> int | None:
        """Return the least number of units with which the interval of one contrast (C,) would exclude 0, None above 30.

        It assumes that the estimate and the variances stay as they are. None if the units are folds, or there is one unit.
        """
        weights_GC = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        estimate, parts = abs(float((weights_GC @ self.mean)[0])), self._parts(weights_GC)
        if not self.freedom or not self.image_freedom:
            return None
        for units in range(self.units, MOST_SEEDS + 1):
            more = parts.with_units(self.units, units, self.freedom)
            if more.half((1 - (level or self.level)) / 2)[0] < estimate:
                return units
        return None

    def pairs(self, level: float | None = None, *, one_sided: bool = False) -> Estimates:
        """Return all differences between two cells, (C, C): row minus column, each interval at `level` for itself."""

        def spread(of_cells: Floats) -> Floats:
            own = np.diag(of_cells)
            return own[:, None] + own[None, :] - 2 * of_cells

        parts = self._moderated(spread, lambda of_cells: np.add.outer(of_cells, of_cells))
        return Estimates(
            self.mean[:, None] - self.mean[None, :], parts.half((1 - (level or self.level)) / (1 if one_sided else 2))
        )

    def best(self, level: float | None = None) -> Flags:
        """Return which cells (C,) may be the best: those that no other cell beats, the truly best among them at `level`.

        Gupta's subset (Gupta 1965, https://doi.org/10.1080/00401706.1965.10490251).
        """
        pairs = self.pairs((level or self.level) ** (1 / max(len(self.mean) - 1, 1)), one_sided=True)
        beats = (pairs.estimate > pairs.half) & ~np.eye(len(self.mean), dtype=np.bool_)
        return np.asarray(~beats.any(axis=0))

    def variances(self, weights: npt.ArrayLike) -> Floats:
        """Return the variances (G,) of the estimates of contrasts (G, C)."""
        parts = self._parts(np.atleast_2d(np.asarray(weights, dtype=np.float64)))
        return parts.seeds + parts.images

    def _parts(self, weights_GC: Floats) -> "Parts":
        def product(of_cells: Floats) -> Floats:
            found: Floats = ((weights_GC @ of_cells) * weights_GC).sum(axis=1)
            return found

        return self._moderated(product, lambda of_cells: weights_GC**2 @ of_cells)

    def _moderated(self, product: Callable[[Floats], Floats], summed: Callable[[Floats], Floats]) -> "Parts":
        """Return the parts of the variances of contrasts; those over units are moderated.

        `product` gives the variances of contrasts from the covariances (C, C) of cells, `summed` from the variances (C,) of
        independent cells. The prior variance of a contrast has a part from outlying cells, whose degrees of freedom are those of
        their own scatter (Satterthwaite's combination).
        """
        seeds, images = product(self.of_seeds), product(self.of_images)
        if not self.freedom:
            return Parts(np.zeros_like(seeds), images, np.zeros_like(seeds), self.image_freedom)
        prior, freedom = summed(np.where(self.outlying, self.scatter, self.prior)), self.freedom + self.prior_freedom
        moderated = (self.prior_freedom * prior + self.freedom * seeds) / freedom
        share = summed(np.where(self.outlying, self.scatter, 0.0)) / np.maximum(prior, np.finfo(float).tiny)
        combined = 1 / ((1 - share) ** 2 / freedom + share**2 / self.freedom)
        rest = product(self.of_rest)
        return Parts(np.maximum(moderated, 0), np.maximum(images - rest, 0), combined, self.image_freedom)  # rounding


@dataclass(frozen=True)
class Parts:
    """The two parts of the variance of estimates, and their degrees of freedom."""

    seeds: Floats
    images: Floats
    freedom: Floats
    image_freedom: float

    def half(self, tail: float) -> Floats:
        """Return the half-widths of intervals that leave out `tail` on each side."""
        from scipy.special import stdtrit

        seeds = np.where(self.freedom > 0, -stdtrit(np.maximum(self.freedom, 1), tail), 0.0)
        images = -stdtrit(self.image_freedom, tail) if self.image_freedom else 0.0
        half: Floats = np.sqrt(seeds**2 * self.seeds + images**2 * self.images)
        return half

    def with_units(self, now: int, then: int, freedom: float) -> "Parts":
        """Return the parts that another number of units would give, at equal variance of one unit."""
        more = freedom * (then - now) / max(now - 1, 1)
        return Parts(self.seeds * now / then, self.images, self.freedom + more, self.image_freedom)


def _of_images(scores_CSN: Floats, mean_C: Floats) -> tuple[Floats, Floats]:
    """Return the covariances (C, C) of the cells' means over images, and of the rest: what units and images have in common."""
    cells, units, images = scores_CSN.shape
    if images == 1:
        return np.zeros((cells, cells)), np.zeros((cells, cells))
    columns = scores_CSN.mean(axis=1) - mean_C[:, None]
    of_images = columns @ columns.T / (images - 1) / images
    if units == 1:
        return of_images, np.zeros_like(of_images)
    rows = scores_CSN.mean(axis=2)
    rest = (scores_CSN - rows[..., None] - columns[:, None, :]).reshape(cells, -1)
    return of_images, rest @ rest.T / ((units - 1) * (images - 1)) / (units * images)


def _scatter(deviations_CS: Floats, freedom: float) -> Floats:
    """Return the variance over units of each cell (C,), around the units' effect on all cells; zeros for one unit or cell."""
    cells = len(deviations_CS)
    own = deviations_CS - deviations_CS.mean(axis=0)
    variance: Floats = (own**2).sum(axis=1) / max(freedom, 1) * cells / max(cells - 1, 1)
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
