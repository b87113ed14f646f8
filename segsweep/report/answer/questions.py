"""The questions of a study: what each level of a compared axis gains over the axis's reference level, overall and by stratum."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations

import numpy as np

from segsweep.report.answer.contrasts import Floats, helmert
from segsweep.report.answer.matching import Design, Pair, pair_weights
from segsweep.report.answer.scores import Engine, StudyScores

MATTERS = 0.01  # a difference of one point, below which two cells count as equal

ROUNDING = 1e-12  # of differences between scores in 0..1


class Verdict(StrEnum):
    """What the simultaneous interval of a difference supports."""

    GAIN = "gain"  # it lies above zero
    LOSS = "loss"  # it lies below zero
    EQUAL = "equal"  # it contains zero and lies within the differences that do not matter
    UNDECIDED = "undecided"  # it contains zero and differences that matter
    NONE = "none"  # the seeds are too few for any statement on new seeds


@dataclass(frozen=True)
class Difference:
    """One contrast between cells; the values are shares of the measure, not points.

    Attributes:
        name: The level, or another name of the contrast.
        weights: Weight of each cell; those of one side add up to 1, those of the other to -1.
        estimate: Weighted sum of the cells' scores.
        half: Half-width of its own 95 % interval; NaN where it would cover neither new seeds nor new images.
        half_together: Half-width of the interval that holds together with all others of the question.
        p: 1 - level of the interval that ends at zero; NaN where the interval does not cover seeds and images.
        verdict: What `half_together` supports.
        per_unit: The difference for each seed, or source model.
        units: The seeds or source models; `units_planned` is the number that the study plans.
        units_needed: Number with which its simultaneous interval would exclude zero at equal estimate; None above 30.
        pairs: Number of matched pairs of cells; `pairs_planned` is the number in the declaration.
    """

    name: str
    weights: Mapping[str, float]
    estimate: float
    half: float
    half_together: float
    p: float
    verdict: Verdict
    per_unit: tuple[float, ...]
    units: tuple[int, ...]
    units_planned: int
    units_needed: int | None
    pairs: int
    pairs_planned: int

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the simultaneous interval."""
        return self.estimate - self.half_together, self.estimate + self.half_together


@dataclass(frozen=True)
class Dependence:
    """Whether the effect of one axis depends on another.

    Attributes:
        axis: The other axis.
        sure: Whether differences between its levels exceed what seeds and images explain; None if the seeds do not decide it.
        largest: The largest difference between two levels that the intervals allow, as a share of the measure.
        strata: The same question at every level of the other axis.
    """

    axis: str
    sure: bool | None
    largest: float
    strata: tuple["Question", ...]


@dataclass(frozen=True)
class Question:
    """The levels of one axis against its reference level: a family whose simultaneous intervals hold together at 95 %.

    Attributes:
        axis: The compared axis.
        reference: Its reference level, as text.
        differences: One per other level that has matched cells with scores.
        stratum: Levels of other axes to which the question is restricted; empty for the average over matched cells.
        over: The other axes that vary between the pairs, over whose levels the differences are averages.
        held: The level of other axes that vary between cells, but not between the pairs.
        dependences: How the effect depends on the other axes; empty in a stratum.
    """

    axis: str
    reference: str
    differences: tuple[Difference, ...]
    stratum: Mapping[str, str]
    over: tuple[str, ...]
    dependences: tuple[Dependence, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)


def questions(design: Design, scores: StudyScores, planned: int, matters: float = MATTERS) -> list[Question]:
    """Return the question of every compared axis with at least two levels, in the order of the declaration.

    Averages are over matched cells, with equal weights. `planned` is the number of units in the declaration.
    """
    asker, asked = _Asker(scores, planned, matters), []
    for axis in design.varied:
        differences = asker.family(design.pairs(axis))
        if differences:
            dependences = tuple(_dependences(design, axis, asker))
            over, held = design.averaged(axis), design.held(axis)
            asked.append(Question(axis, design.reference(axis), differences, {}, over, dependences, held))
    return asked


@dataclass(frozen=True)
class _Asker:
    """Builds families of differences from matched pairs."""

    scores: StudyScores
    planned: int
    matters: float

    def family(self, pairs: Mapping[str, Sequence[Pair]]) -> tuple[Difference, ...]:
        """Return one difference per level whose cells have scores; their simultaneous intervals hold together."""
        usable = {level: self._usable(of_level) for level, of_level in pairs.items()}
        usable = {level: kept for level, kept in usable.items() if kept}
        share = self.scores.level ** (1 / max(len(usable), 1))
        return tuple(
            self.difference(level, pair_weights(kept), share, (len(kept), len(pairs[level]))) for level, kept in usable.items()
        )

    def difference(self, name: str, weights: Mapping[str, float], level: float, pairs: tuple[int, int]) -> Difference:
        """Return one contrast, with its own interval and the one at `level`."""
        engine = self.scores.engine([cell for cell, weight in weights.items() if weight])
        assert engine is not None
        vector = engine.weights(weights)
        alone, together = engine.contrasts.estimates(vector), engine.contrasts.estimates(vector, level)
        estimate, half = float(alone.estimate[0]), float(together.half[0])
        return Difference(
            name=name,
            weights=weights,
            estimate=estimate,
            half=float(alone.half[0]) if engine.contrasts.freedom or engine.contrasts.covers_images else float("nan"),
            half_together=half,
            p=engine.contrasts.p_value(vector) if engine.contrasts.freedom and engine.contrasts.covers_images else float("nan"),
            verdict=verdict(estimate, half, self.matters) if engine.contrasts.decides else Verdict.NONE,
            per_unit=tuple((vector @ engine.per_unit).tolist()),
            units=engine.units,
            units_planned=self.planned,
            units_needed=engine.contrasts.units_needed(vector, level),
            pairs=pairs[0],
            pairs_planned=pairs[1],
        )

    def _usable(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Return the pairs that have units in common, at least two where any has two: most complete pairs first."""
        ordered = sorted(pairs, key=lambda pair: -len(self.scores.common(pair)))
        least = min(2, len(self.scores.common(ordered[0]))) if ordered else 0
        kept: list[Pair] = []
        for pair in ordered:
            together = self.scores.common([cell for each in (*kept, pair) for cell in each])
            if least and len(together) >= least:
                kept.append(pair)
        return [pair for pair in pairs if pair in kept]


def family(
    scores: StudyScores, pairs: Mapping[str, Sequence[Pair]], planned: int, matters: float = MATTERS
) -> tuple[Difference, ...]:
    """Return one difference per name: the mean over its pairs of first minus second cell. Names without scores are left out.

    Their simultaneous intervals hold together at 95 %. `planned` is the number of units that the study plans.
    """
    return _Asker(scores, planned, matters).family(pairs)


def verdict(estimate: float, half: float, matters: float) -> Verdict:
    """Return what an interval supports; `matters` is the least difference that matters."""
    if abs(estimate) > half + ROUNDING:
        return Verdict.GAIN if estimate > 0 else Verdict.LOSS
    return Verdict.EQUAL if abs(estimate) + half <= matters + ROUNDING else Verdict.UNDECIDED


def _dependences(design: Design, axis: str, asker: _Asker) -> Iterator[Dependence]:
    """Yield how the effect of an axis depends on every other axis at whose levels it has the same matched levels, at least two.

    Levels without any matched pair, of either axis, are left out.
    """
    others = design.others(axis)
    pairs = {other: _strata(design, axis, other) for other in others}
    complete = [
        other for other, strata in pairs.items() if len(strata) > 1 and len({tuple(each) for each in strata.values()}) == 1
    ]
    for other in complete:
        rest = tuple(each for each in others if each != other)
        families = {level: asker.family(of_level) for level, of_level in pairs[other].items()}
        if all(families.values()):
            strata = [Question(axis, design.reference(axis), family, {other: level}, rest) for level, family in families.items()]
            yield Dependence(other, *_interaction(strata, asker, asker.scores.level ** (1 / len(complete))), tuple(strata))


def _strata(design: Design, axis: str, other: str) -> dict[str, dict[str, list[Pair]]]:
    """Return the pairs of an axis by level of another axis, without empty ones."""
    found = {stratum: design.pairs(axis, {other: stratum}) for stratum in design.levels[other]}
    kept = {stratum: {level: pairs for level, pairs in each.items() if pairs} for stratum, each in found.items()}
    return {stratum: each for stratum, each in kept.items() if each}


def _interaction(strata: Sequence[Question], asker: _Asker, level: float) -> tuple[bool | None, float]:
    """Return whether effects differ between strata, and the largest difference that the simultaneous intervals allow.

    The ratio of squared estimates to their variances over orthonormal contrasts between strata is compared with an F quantile
    with the degrees of freedom of the variance over units.
    """
    from scipy.special import fdtri

    effects = [{difference.name: difference.weights for difference in question.differences} for question in strata]
    names = [name for name in effects[0] if all(name in each for each in effects)]
    engine = asker.scores.engine([cell for each in effects for weights in each.values() for cell in weights])
    if engine is None or not names:
        return None, float("nan")
    by_level = np.stack([[engine.weights(each[name]) for each in effects] for name in names])  # (levels, strata, cells)
    contrasts = np.einsum("hs,lsc->lhc", helmert(len(strata)), by_level).reshape(-1, len(engine.cells))
    between = np.stack([by_level[:, one] - by_level[:, two] for one, two in combinations(range(len(strata)), 2)])
    family = engine.contrasts.family(between.reshape(-1, len(engine.cells)))
    largest = float((np.abs(family.estimate) + family.half).max())
    freedom = engine.contrasts.freedom + engine.contrasts.prior_freedom
    if not engine.contrasts.decides:
        return None, largest
    return bool(_ratio(engine, contrasts) > fdtri(len(contrasts), freedom, level)), largest


def _ratio(engine: Engine, contrasts: Floats) -> float:
    variance = float(engine.contrasts.variances(contrasts).sum())
    squares = float(((contrasts @ engine.contrasts.mean) ** 2).sum())
    return squares / variance if variance else 0.0
