"""An estimate: an expected value with a range."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add


@dataclass(frozen=True)
class Estimate:
    """An expected value, and the range from `low` to `high` in which the real value is likely to lie; `low <= expected <= high`.

    Sums add the ends of the ranges: errors of one measurement repeat in every task that it prices, so they do not cancel.
    """

    low: float
    expected: float
    high: float

    def __post_init__(self) -> None:
        assert self.low <= self.expected <= self.high, self

    @classmethod
    def exact(cls, value: float) -> "Estimate":
        """Return an estimate without uncertainty."""
        return cls(value, value, value)

    @classmethod
    def within(cls, value: float, factor: float) -> "Estimate":
        """Return an estimate that is right within a factor: from `value / factor` to `value * factor`."""
        return cls(value / factor, value, value * factor)

    @classmethod
    def total(cls, parts: "Iterable[Estimate]") -> "Estimate":
        """Return the sum of estimates; exactly 0 without any."""
        return reduce(add, parts, cls.exact(0.0))

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def __mul__(self, other: "Estimate | float") -> "Estimate":
        by = other if isinstance(other, Estimate) else Estimate.exact(other)
        return Estimate(self.low * by.low, self.expected * by.expected, self.high * by.high)

    def at_least(self, other: "Estimate") -> "Estimate":
        """Return the larger one of two estimates, end by end."""
        return Estimate(max(self.low, other.low), max(self.expected, other.expected), max(self.high, other.high))

    def as_dict(self) -> dict[str, float]:
        """Return the three values by name."""
        return {"low": self.low, "expected": self.expected, "high": self.high}
