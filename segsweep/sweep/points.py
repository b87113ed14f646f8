"""Tuning points: the values of the tuned axes that every cell of a study tries."""

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any

import numpy as np

from segsweep.config.digest import seed_for
from segsweep.config.space import DRAWN, Choice, LogUniform, Range, Uniform, all_listed
from segsweep.config.study import SOURCE_RATE, Study
from segsweep.errors import UserError
from segsweep.sweep.halton import halton

POINTS_TRIED = 1 << 16  # points of the sequence before giving up on narrow ranges


def tuning_points(tune: Mapping[str, Range], count: int | None = None) -> list[dict[str, Any]]:
    """Return the tuning points, which are the same for every cell; an empty list if no axis is tuned.

    A larger `count` extends the list and keeps its beginning. If all axes list their values, the points are the first `count`
    combinations (None: all), with the last axis changing fastest.

    If some axes are ranges, their values are the first `count` points (None: eight) of a scrambled Halton sequence (Owen 2017,
    arXiv:1706.02808), with one dimension per range in the alphabetical order of the axes; points outside a range are skipped.
    The combinations of listed values are assigned to these points in rounds: each round contains every combination once, in
    random order. In a fixed order, each of two combinations would meet only one half of a range.

    Raises `UserError` if the ranges are so narrow that too few points fall into them.
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


def points_of(study: Study) -> list[dict[str, Any]]:
    """Return the tuning points of every cell of a study; none for a search, which suggests its trials one by one."""
    return [] if study.search is not None else tuning_points(study.tune, study.trials_per_cell)


def spread_values(tried: Range, count: int) -> list[Any]:
    """Return `count` values that cover a range evenly: its middle, its quarters, its eighths ... For a list, its first values.

    They follow van der Corput's sequence in base 2; a larger `count` extends the list and keeps its beginning.
    """
    if isinstance(tried, Choice):
        return list(tried.values[:count])
    return [tried.inside(share) for (share,) in islice(halton(1), 1, count + 1)]  # the first share is 0


def points_remarks(study: Study) -> list[str]:
    """Return remarks if a study asks for more or fewer tuning trials, or source rates, than it lists values."""
    rates = study.range_of_source_rates
    sources = _remarks("source_trials", study.source_trials, {SOURCE_RATE: rates}) if rates is not None else []
    tuning = [] if study.search is not None else _remarks("trials_per_cell", study.trials_per_cell, study.tune)
    return [*tuning, *sources]


def _remarks(name: str, asked: int | None, tune: Mapping[str, Range]) -> list[str]:
    listed = [axis for axis, tuned in tune.items() if isinstance(tuned, Choice)]
    if not listed:
        return []
    every, axes, without_ranges = len(_combinations(tune)), ", ".join(listed), all_listed(tune)
    planned = asked or (every if without_ranges else DRAWN)
    if without_ranges and planned > every:
        return [f"{name}={planned}: the listed values of {axes} have only {every} combinations, and each is tried once"]
    if planned < every:
        return [f"{name}={planned}: only {planned} of the {every} combinations of the listed values of {axes} are tried"]
    return []


def _combinations(tune: Mapping[str, Range]) -> list[dict[str, Any]]:
    """Return the combinations of the listed axes, the last axis changing fastest; one empty combination if none is listed."""
    listed = {axis: tuned.values for axis, tuned in tune.items() if isinstance(tuned, Choice)}
    return [dict(zip(listed, values, strict=True)) for values in product(*listed.values())]


def _in_turns(combinations: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield combinations endlessly, in rounds: each round contains all of them, in random order."""
    turn = 0
    while True:
        order = np.random.default_rng(seed_for("listed combinations", turn)).permutation(len(combinations))
        yield from (combinations[index] for index in order)
        turn += 1


def _drawn(ranges: Mapping[str, LogUniform | Uniform], count: int) -> list[dict[str, Any]]:
    """Return `count` low-discrepancy points of the ranges, as axis -> value."""
    axes = sorted(ranges)
    points: list[dict[str, Any]] = []
    for units in islice(halton(len(axes), seed_for("tuning points") % 2**32), POINTS_TRIED):
        values = {axis: ranges[axis].at(unit) for axis, unit in zip(axes, units, strict=True)}
        if None not in values.values():
            points.append(values)
            if len(points) == count:
                return points
    raise UserError(f"tune: only {len(points)} of {count} tuning points lie in {dict(ranges)}; widen the ranges or fix an axis")
