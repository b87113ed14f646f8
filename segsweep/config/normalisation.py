"""Input normalisation: the mean and standard deviation that a network's weights expect of images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segsweep.config.plain import listed, plain
from segsweep.errors import UserError

Triple = tuple[float, float, float]
Stated = float | Sequence[float]  # one value for all channels, or one each for red, green and blue


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of red, green and blue, in units of 0..1: a network receives (image / 255 - mean) / std."""

    mean: Triple
    std: Triple

    @classmethod
    def stated(cls, mean: Stated, std: Stated) -> "Normalisation":
        """Return the normalisation that a user states.

        Args:
            mean: One number for all channels or one each for red, green and blue, in 0..1.
            std: One number or three, above 0 and at most 1.

        Raises:
            UserError: a value is out of range, or there are neither one nor three of them.
        """
        return cls(_triple("mean", mean, lambda value: 0 <= value <= 1), _triple("std", std, lambda value: 0 < value <= 1))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Normalisation":
        """Return the normalisation that `as_dict` wrote to JSON."""
        return cls(_three(values["mean"]), _three(values["std"]))

    def as_dict(self) -> dict[str, list[float]]:
        """Return `mean` and `std` as lists, for JSON."""
        return {"mean": list(self.mean), "std": list(self.std)}

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"mean {mean}, std {std}"


IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))  # of most published encoders
HALF = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))  # maps 0..1 to -1..1


def _three(values: Sequence[float]) -> Triple:
    red, green, blue = map(float, values)
    return red, green, blue


def _triple(name: str, stated: Stated, allowed: Any) -> Triple:
    one = plain(stated)
    values = [one] * 3 if isinstance(one, int | float) else listed(stated) or []
    good = all(isinstance(value, int | float) and math.isfinite(value) and allowed(value) for value in values)
    if len(values) != 3 or not good:
        limits = "0 <= mean <= 1" if name == "mean" else "0 < std <= 1"
        raise UserError(f"{name}={stated!r}: must be one number, or three for red, green and blue, in units of 0..1 ({limits})")
    return _three(values)
