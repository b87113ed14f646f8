"""Learning-rate schedules: the share of a run's learning rate at each optimiser step."""

import math
from collections.abc import Callable, Mapping

POLY_POWER = 0.9
ONE_CYCLE_RISE = 0.3  # of the steps
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


def learning_rate_share(schedule: str, step: int, steps: int, warmup: float = 0.0) -> float:
    """Return the share of the learning rate at step 0..steps-1, in (0, 1].

    `constant`: 1. `poly`: (1 - t)^0.9 (DeepLab, arXiv:1606.00915). `cosine`: half a cosine towards 0 (Loshchilov and Hutter 2017,
    arXiv:1608.03983). `one_cycle`: from 1/25 up to 1 over the first 30 per cent, then down to 1/250,000 (Smith and Topin 2018,
    arXiv:1708.07120). The schedule starts after a warm-up: the share `warmup` of the steps, over which the rate rises linearly.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return SCHEDULES[schedule](step - rising, max(1, steps - rising))


def _constant(step: int, steps: int) -> float:  # noqa: ARG001
    return 1.0


def _poly(step: int, steps: int) -> float:
    return math.pow(1 - step / steps, POLY_POWER)


def _cosine(step: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def _one_cycle(step: int, steps: int) -> float:
    top = max(1.0, ONE_CYCLE_RISE * steps - 1)
    if step <= top:
        return _between(ONE_CYCLE_START, 1.0, step / top)
    return _between(1.0, ONE_CYCLE_END, (step - top) / max(1.0, steps - 1 - top))


def _between(start: float, end: float, share: float) -> float:
    """Return a value on half a cosine from start to end."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


SCHEDULES: Mapping[str, Callable[[int, int], float]] = {
    "constant": _constant,
    "poly": _poly,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}
