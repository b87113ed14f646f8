"""Values of a tuned axis: a range, which maps a point of the unit interval to a value, or listed values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segsweep.config.plain import listed, number, plain
from segsweep.errors import UserError

LOG_SPAN = (-12.0, 4.0)  # decimal exponents of the interval on which every LogUniform draws its points; see `LogUniform`
OUTER_SHARE = 0.1
LEAST_WITH_EDGE = 3  # listed values; with fewer every value is at an edge
DRAWN = 8  # number of points of ranges, if a study does not set `trials_per_cell`
GOLDEN = 0.6180339887  # share of a range at which a sample is not a whole number, even between whole ends


@dataclass(frozen=True)
class LogUniform:
    """A positive number whose logarithm is uniform on [low, high].

    Points are drawn on all sixteen decades 1e-12..1e4, and the points inside the range are used. If the range grows, its earlier
    points remain, and only points in the new part run.

    Attributes:
        low: Lower end, at least 1e-12.
        high: Upper end, above `low` and at most 1e4.

    Raises:
        UserError: an end is not a number or out of range.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _set_numbers(self)
        if not 10 ** LOG_SPAN[0] <= self.low < self.high <= 10 ** LOG_SPAN[1]:
            raise UserError(f"LogUniform({self.low}, {self.high}): needs 1e-12 <= low < high <= 1e4")

    def at(self, unit: float) -> float | None:
        """Return the value at a point of the unit interval, to 4 significant digits; None if it lies outside the range."""
        value = float(f"{10 ** (LOG_SPAN[0] + unit * (LOG_SPAN[1] - LOG_SPAN[0])):.4g}")
        return value if self.low <= value <= self.high else None

    def inside(self, unit: float) -> float:
        """Return the value at a share of the range, from 0 (`low`) to 1 (`high`), to 4 significant digits."""
        return float(f"{self.low * (self.high / self.low) ** unit:.4g}")

    def at_edge(self, value: float) -> bool:
        """Return whether a value lies in the outer tenth of the range."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return not OUTER_SHARE <= share <= 1 - OUTER_SHARE

    def contains(self, value: Any) -> bool:
        """Return whether the value is a number in the range."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    def samples(self) -> tuple[float, ...]:
        """Return values that check a study before it starts; one of them is not a whole number."""
        return (self.low, self.high, self.low + GOLDEN * (self.high - self.low))

    def with_range(self, low: float, high: float) -> "LogUniform":
        """Return the same distribution on another range."""
        return LogUniform(low, high)


@dataclass(frozen=True)
class Uniform:
    """A number that is uniform on [low, high].

    Attributes:
        low: Lower end.
        high: Upper end, above `low`.

    Raises:
        UserError: an end is not a number, or `low` is not below `high`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _set_numbers(self)
        if not self.low < self.high:
            raise UserError(f"Uniform({self.low}, {self.high}): needs low < high")

    def at(self, unit: float) -> float | None:
        """Return the value at a point of the unit interval, to 4 significant digits."""
        return float(f"{self.low + unit * (self.high - self.low):.4g}")

    def inside(self, unit: float) -> float:
        """Return the value at a share of the range, from 0 (`low`) to 1 (`high`), to 4 significant digits."""
        return float(f"{self.low + unit * (self.high - self.low):.4g}")

    def at_edge(self, value: float) -> bool:
        """Return whether a value lies in the outer tenth of the range."""
        return not OUTER_SHARE <= (value - self.low) / (self.high - self.low) <= 1 - OUTER_SHARE

    def contains(self, value: Any) -> bool:
        """Return whether the value is a number in the range."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    def samples(self) -> tuple[float, ...]:
        """Return values that check a study before it starts; one of them is not a whole number."""
        return (self.low, self.high, self.low + GOLDEN * (self.high - self.low))

    def with_range(self, low: float, high: float) -> "Uniform":
        """Return the same distribution on another range."""
        return Uniform(low, high)


@dataclass(frozen=True, init=False)
class Choice:
    """Listed values, `Choice(a, b)` or `Choice([a, b])`, tried in order and in every combination with other listed axes.

    Raises:
        UserError: there is no value, or a value occurs twice.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        one = listed(values[0]) if len(values) == 1 else None
        flat = one if one is not None else [plain(value) for value in values]
        if not flat or len(set(map(repr, flat))) != len(flat):
            raise UserError(f"Choice{tuple(values)}: needs at least one value, none of them twice")
        object.__setattr__(self, "values", tuple(flat))

    def at_edge(self, value: Any) -> bool:
        """Return whether a value is the lowest or highest of at least three numbers; values of other types have no order."""
        numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in self.values)
        return numbers and len(self.values) >= LEAST_WITH_EDGE and value in (min(self.values), max(self.values))

    def contains(self, value: Any) -> bool:
        """Return whether the value is one of the choices."""
        return value in self.values

    def samples(self) -> tuple[Any, ...]:
        """Return values that check a study before it starts."""
        return self.values


def _set_numbers(bounds: LogUniform | Uniform) -> None:
    """Convert the ends of a range to plain numbers. Raises `UserError` for an end that is not a number."""
    written = f"{type(bounds).__name__}({bounds.low!r}, {bounds.high!r})"
    for end in ("low", "high"):
        object.__setattr__(bounds, end, number(written, getattr(bounds, end)))


Range = LogUniform | Uniform | Choice


def all_listed(tune: Mapping[str, Range]) -> bool:
    """Return whether every tuned axis lists its values."""
    return all(isinstance(tuned, Choice) for tuned in tune.values())
