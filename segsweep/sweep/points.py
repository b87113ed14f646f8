"""The points at which every cell of a study is tuned."""

from collections.abc import Mapping
from typing import Any

from scipy.stats import qmc

from segsweep.config.digest import seed_for
from segsweep.config.space import Range
from segsweep.errors import UserError

POINTS_TRIED = 1 << 16


def tuning_points(tune: Mapping[str, Range], count: int) -> list[dict[str, Any]]:
    """Return `count` low-discrepancy points of the tuned axes: the same for every cell.

    A scrambled Halton sequence (Owen 2017, arXiv:1706.02808) with one dimension an axis, in the axes' alphabetical order;
    points outside a range are passed over. More points begin with the same ones. No axes give no points.
    Raises `UserError` where the ranges are so narrow that hardly a point falls into them.
    """
    if not tune:
        return []
    axes = sorted(tune)
    sequence = qmc.Halton(len(axes), scramble=True, rng=seed_for("tuning points") % 2**32)
    points: list[dict[str, Any]] = []
    for _ in range(POINTS_TRIED):
        units = sequence.random(1)[0]
        values = {axis: tune[axis].at(float(unit)) for axis, unit in zip(axes, units, strict=True)}
        if None not in values.values():
            points.append(values)
            if len(points) == count:
                return points
    raise UserError(f"tune: only {len(points)} of {count} points lie in {dict(tune)}; widen the ranges or fix an axis")
