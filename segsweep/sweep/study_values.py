"""The possible values of a setting in the trials of a cell: one if it is fixed, several if it is tuned."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from segsweep.config.settings import Settings
from segsweep.config.study import Study
from segsweep.sweep.points import tuning_points


def tuned_values(study: Study, axis: str, fixed: Any) -> Sequence[Any]:
    """Return sample values of a setting in the trials of a cell; `fixed` if it is not tuned."""
    return study.tune[axis].samples() if axis in study.tune else (fixed,)


def dev_shares(study: Study, settings: Settings) -> tuple[float | None, ...]:
    """Return the development shares in the trials of a cell: one, or those of the tuning points."""
    return _at_points(study, "dev_share", settings.dev_share)


def fractions(study: Study, settings: Settings) -> tuple[float, ...]:
    """Return the fractions in the trials of a cell: one, or those of the tuning points."""
    return _at_points(study, "fraction", settings.fraction)


def _at_points(study: Study, axis: str, fixed: Any) -> tuple[Any, ...]:
    """Return the values of a setting in the trials of a cell: `fixed`, or those of the tuning points; samples for a search."""
    if axis not in study.tune:
        return (fixed,)
    if study.search is not None:
        return study.tune[axis].samples()
    return tuple(dict.fromkeys(point[axis] for point in tuning_points(study.tune, study.trials_per_cell)))


def split_choices(study: Study, settings: Settings) -> tuple[tuple[float | None, int | None], ...]:
    """Return the (development share, fold) pairs of the splits that the trials of a cell use."""
    return tuple(product(dev_shares(study, settings), study.folds(settings)))
