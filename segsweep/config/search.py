"""The declaration of a search for the best model over the compared and tuned axes of a study."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from segsweep.config.folds import folds_of
from segsweep.config.plain import plain
from segsweep.config.space import Choice, all_listed
from segsweep.errors import UserError, unknown

if TYPE_CHECKING:
    from segsweep.config.study import Study

Sampler = Literal["tpe", "gp", "random"]
AT_LARGEST = ("fraction", "dev_share")  # axes on which a search uses the largest value: more data is not a choice
INCOMPARABLE = {  # compared settings that a search refuses -> the reason
    "keep": "trials that are measured differently cannot be compared",
    "fold": "readings on different folds cannot be compared",
    "image_px": "readings at different image sizes cannot be compared",
    "fit": "readings on different parts of the images cannot be compared",
    "test_size": "it has no effect before the test",
    "clip_images": "it has no effect on the scores",
    "domain_shift": "it has no effect on the scores",
}


@dataclass(frozen=True)
class Search:
    """A search for the best model: trials choose values of all compared and tuned axes together.

    A sampler of Optuna suggests every trial from the results so far. The rule of early stopping compares all trials. At the end
    the best settings of the best cells are confirmed on new seeds and tested once, as in a grid.

    Attributes:
        trials: Number of trials of the search, at least 1. Confirmed runs come on top.
        sampler: `tpe` (multivariate tree-structured Parzen estimator), `gp` (Gaussian process; axes that not every trial has are
            drawn at random) or `random`.
        axes: Those of the axes `fraction` and `dev_share` that the search chooses too. Otherwise it uses their largest value.
        confirm: Number of cells whose best setting is confirmed, at least 1. Each gets `seeds` confirmed runs.
        warm_start: Earlier studies of the same target, as folders or names in the folder of studies. Their tuning trials count as
            known results.

    Raises:
        UserError: a value has the wrong type or is not allowed.
    """

    trials: int = 100
    sampler: Sampler = "tpe"
    axes: tuple[str, ...] = ()
    confirm: int = 3
    warm_start: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("trials", "confirm"):
            value = plain(getattr(self, name))
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"Search {name}={value!r}: must be a whole number >= 1")
            object.__setattr__(self, name, value)
        if self.sampler not in get_args(Sampler):
            raise unknown("Search: sampler", str(self.sampler), list(get_args(Sampler)))
        for name in ("axes", "warm_start"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        for axis in self.axes:
            if axis not in AT_LARGEST:
                raise UserError(f"Search axes={axis!r}: allowed are {', '.join(AT_LARGEST)}; every other axis is searched anyway")

    def as_dict(self) -> dict[str, Any]:
        """Return the search as plain values, for the declaration of a study, without empty lists."""
        values = {"trials": self.trials, "sampler": self.sampler, "confirm": self.confirm}
        lists = {"axes": list(self.axes), "warm_start": list(self.warm_start)}
        return values | {name: names for name, names in lists.items() if names}

    def searched(self, grid: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        """Return a compared grid with only the largest value of `fraction` and `dev_share`, unless `axes` names them."""
        return {
            axis: (max(values, key=_amount),) if axis in AT_LARGEST and axis not in self.axes else values
            for axis, values in grid.items()
        }


def _texts(name: str, values: object) -> tuple[str, ...]:
    """Return names as a tuple of texts; a single text or path means one name."""
    several = [values] if isinstance(values, str | os.PathLike) else values
    if not isinstance(several, Sequence) or not all(isinstance(each, str | os.PathLike) for each in several):
        raise UserError(f"Search {name}={values!r}: must be a list of texts")
    return tuple(os.fspath(each) for each in several)


def _amount(value: Any) -> float:
    """Return the share of images that a value of `fraction` or `dev_share` stands for; None means all."""
    return float("inf") if value is None else float(value)


def check_search(study: "Study") -> None:
    """Raise `UserError` for a study that a search cannot handle, or that leaves it a single setting."""
    if not isinstance(study.search, Search):
        raise UserError(f"study {study.name}: search={study.search!r}: must be a Search or None")
    if folds_of(study.target.protocol) is not None:
        raise UserError(
            f"study {study.name}: search with protocol {study.target.protocol!r}: a search compares trials on one split; use a "
            "protocol without folds, such as '60-20-20'"
        )
    levels = _levels(study)
    for axis, reason in INCOMPARABLE.items():
        if len(levels.get(axis, ())) > 1:
            raise UserError(f"study {study.name}: search with {axis} compared: {reason}; fix {axis}")
    keeps = {study.fixed.get("keep"), *levels.get("keep", ())}
    if "val_loss" in keeps and len(levels.get("loss", ())) > 1:
        raise UserError(
            f"study {study.name}: search with keep='val_loss' and loss compared: values of different losses are not comparable; "
            "fix loss, or use keep='val_iou'"
        )
    settings = len(list(study.cells()))
    for tuned in study.tune.values():
        settings *= len(tuned.values) if isinstance(tuned, Choice) else 1
    if all_listed(study.tune) and settings < 2:
        raise UserError(f"study {study.name}: search has one setting to try; compare or tune at least two values")


def _levels(study: "Study") -> dict[str, list[Any]]:
    """Return the distinct values of every compared axis that the search can choose, over all grids."""
    assert study.search is not None
    found: dict[str, list[Any]] = {}
    for grid in map(study.search.searched, study.grids):
        for axis, values in grid.items():
            known = found.setdefault(axis, [])
            known += [value for value in values if value not in known]
    return found
