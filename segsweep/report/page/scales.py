"""Scales of charts: from values to units of a drawing, with ticks at round numbers."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segsweep.report.page.number_text import signed

MARGIN = 0.04  # of the range of the values, added at both ends
STEPS = (1, 2, 5, 10)
TIGHT = 0.75  # of the distance asked for: a few ticks too many are better than one alone
SMALL = 1e-4  # with a smaller tick, logarithmic ticks are written as 1e-5


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic scale: values `low`..`high` lie at `start`..`end`; values outside are clipped to the ends."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...] = ()
    is_logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the position of a value; -inf and inf are at the ends."""
        value = min(max(value, self.low), self.high)
        low, high = (math.log(self.low), math.log(self.high)) if self.is_logarithmic else (self.low, self.high)
        share = ((math.log(value) if self.is_logarithmic else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    @property
    def tick_texts(self) -> tuple[str, ...]:
        """The ticks as text, all with the same number of decimals on a linear scale."""
        if self.is_logarithmic:
            small = min(self.ticks) < SMALL
            return tuple(f"{tick:.0e}".replace("e-0", "e-") if small else f"{tick:,.12g}" for tick in self.ticks)
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return tuple(signed(tick, decimals, plus=False) for tick in self.ticks)


def linear(values: Iterable[float], start: float, end: float, ticks: int = 6) -> Scale:
    """Return a linear scale that includes all finite values with a margin, and has about `ticks` ticks."""
    low, high = _ends(values)
    margin = MARGIN * (high - low) or max(abs(low) * MARGIN, 0.5)
    low, high = low - margin, high + margin
    return Scale(low, high, start, end, nice_ticks(low, high, ticks))


def logarithmic(values: Iterable[float], start: float, end: float, at: Sequence[float] = (), ticks: int = 6) -> Scale:
    """Return a logarithmic scale that includes all finite positive values with a margin.

    Its ticks are those of `at` (in ascending order) that have room, or 1, 2 and 5 times powers of ten.
    """
    low, high = _ends(value for value in values if value > 0)
    factor = (high / low) ** MARGIN if high > low else 1.5
    low, high = low / factor, high * factor
    scale = Scale(low, high, start, end, is_logarithmic=True)
    chosen = _with_room(scale, at, ticks) if at else _decades(low, high, ticks)
    return Scale(low, high, start, end, chosen, is_logarithmic=True)


def nice_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """Return the multiples of 1, 2 or 5 times a power of ten within `low`..`high`: about `count` of them, at least one."""
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in STEPS if power * factor >= TIGHT * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(number * step, 12) + 0.0 for number in range(first, last + 1)) or ((low + high) / 2,)


def _ends(values: Iterable[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    assert finite, "a scale needs a finite value"
    return min(finite), max(finite)


def _decades(low: float, high: float, count: int) -> tuple[float, ...]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        within = tuple(value for value in found if low <= value <= high)
        if within and len(within) <= count:
            return within
    return within[:: -(-len(within) // count)] or (math.sqrt(low * high),)


def _with_room(scale: Scale, at: Sequence[float], count: int) -> tuple[float, ...]:
    """Return those of `at` that are not closer than `count` ticks would be; the last one always."""
    room = abs(scale.end - scale.start) / (count + 1)
    kept: list[float] = []
    for value in reversed(at):
        if not kept or abs(scale(kept[-1]) - scale(value)) >= room:
            kept.append(value)
    return tuple(reversed(kept))
