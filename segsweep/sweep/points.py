"""The points at which every cell of a study is tuned."""

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any

import numpy as np

from segsweep.config.digest import seed_for
from segsweep.config.space import Choice, LogUniform, Range, Uniform, all_listed
from segsweep.config.study import SOURCE_RATE, Study
from segsweep.errors import UserError
from segsweep.sweep.halton import halton

POINTS_TRIED = 1 << 16
DRAWN = 8  # points of ranges where a study does not say how many


def tuning_points(tune: Mapping[str, Range], count: int | None = None) -> list[dict[str, Any]]:
    """Return the points of the tuned axes: the same for every cell. More points begin with the same ones; no axes give none.

    Where all axes list their values, they are the combinations in order, the last axis changing fastest; `count` takes the first
    ones, None all. Where there are ranges, their values are `count` points (None: eight) of a scrambled Halton sequence
    (Owen 2017, arXiv:1706.02808) with one dimension a range, in the axes' alphabetical order; points outside a range are passed
    over. Listed combinations go with them in turns: each comes once in every round, in an order that chance gives to the round,
    since in a fixed one of two combinations each would meet only one half of a range. Raises `UserError` where the ranges are so
    narrow that hardly a point falls into them.
    """
    if not tune:
        return []
    combinations = _combinations(tune)
    if all_listed(tune):
        return combinations[:count]
    ranges = {axis: tuned for axis, tuned in tune.items() if not isinstance(tuned, Choice)}
    drawn = _drawn(ranges, DRAWN if count is None else count)
    points = ({**values, **listed} for values, listed in zip(drawn, _in_turns(combinations), strict=False))
    return [{axis: point[axis] for axis in tune} for point in points]


def spread_values(tried: Range, count: int) -> list[Any]:
    """Return values with which few trials cover a range: its middle, then its quarters, eighths ...; of a list the first ones.

    They are van der Corput's sequence in base 2. More values begin with the same ones.
    """
    if isinstance(tried, Choice):
        return list(tried.values[:count])
    return [tried.inside(share) for (share,) in islice(halton(1), 1, count + 1)]  # the first share is 0


def points_remarks(study: Study) -> list[str]:
    """Return what is to be known where more or fewer tuning trials, or rates of a source, are asked for than are listed."""
    rates = study.range_of_source_rates
    sources = _remarks("source_trials", study.source_trials, {SOURCE_RATE: rates}) if rates is not None else []
    return [*_remarks("trials_per_cell", study.trials_per_cell, study.tune), *sources]


def _remarks(name: str, asked: int | None, tune: Mapping[str, Range]) -> list[str]:
    listed = [axis for axis, tuned in tune.items() if isinstance(tuned, Choice)]
    if not listed:
        return []
    every, axes, without_ranges = len(_combinations(tune)), ", ".join(listed), all_listed(tune)
    planned = asked or (every if without_ranges else DRAWN)
    if without_ranges and planned > every:
        return [f"{name}={planned}: the listed values of {axes} make {every}, and each is tried once"]
    if planned < every:
        return [f"{name}={planned}: only {planned} of the {every} that the listed values of {axes} make are tried"]
    return []


def _combinations(tune: Mapping[str, Range]) -> list[dict[str, Any]]:
    """Return the combinations of the listed axes, the last changing fastest; a single empty one where none is listed."""
    listed = {axis: tuned.values for axis, tuned in tune.items() if isinstance(tuned, Choice)}
    return [dict(zip(listed, values, strict=True)) for values in product(*listed.values())]


def _in_turns(combinations: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield combinations for ever, all of them in each round, in an order that chance gives to the round."""
    turn = 0
    while True:
        order = np.random.default_rng(seed_for("listed combinations", turn)).permutation(len(combinations))
        yield from (combinations[index] for index in order)
        turn += 1


def _drawn(ranges: Mapping[str, LogUniform | Uniform], count: int) -> list[dict[str, Any]]:
    """Return `count` low-discrepancy points of some ranges."""
    axes = sorted(ranges)
    points: list[dict[str, Any]] = []
    for units in islice(halton(len(axes), seed_for("tuning points") % 2**32), POINTS_TRIED):
        values = {axis: ranges[axis].at(unit) for axis, unit in zip(axes, units, strict=True)}
        if None not in values.values():
            points.append(values)
            if len(points) == count:
                return points
    raise UserError(f"tune: only {len(points)} of {count} points lie in {dict(ranges)}; widen the ranges or fix an axis")
