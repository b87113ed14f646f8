"""A study's budget: its limits of time, and the numbers of tuning points and confirmed seeds that fit them.

Pure Python. `ledger` measures the time, `rounds` releases the trials.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

LEAST_POINTS, LEAST_SEEDS = 1, 2  # least numbers per cell, or those of the study if it has fewer
RESERVE = 1.1  # least price of a study that has not begun, as a multiple of the prediction, because predictions are inexact


@dataclass(frozen=True)
class Limits:
    """The limits of a start of a study; None: no limit.

    `device_seconds` is the time of all devices, summed over all starts of the study. `ends_at` is the deadline, in seconds since
    1970.
    """

    device_seconds: float | None = None
    ends_at: float | None = None

    def __bool__(self) -> bool:
        return self.device_seconds is not None or self.ends_at is not None


@dataclass(frozen=True)
class Share:
    """The work of every cell: its number of tuning points, and its number of confirmed seeds."""

    points: int
    seeds: int


def least_share(declared: Share, step: int) -> Share:
    """Return the least share with which a study begins. `step` is the number of seeds that are confirmed together."""
    seeds = min(-(-LEAST_SEEDS // step) * step, declared.seeds)
    return Share(min(LEAST_POINTS, declared.points), seeds)


def growth(start: Share, declared: Share, step: int) -> Iterator[Share]:
    """Yield the shares from `start` to `declared`, each with one more tuning point or `step` more seeds than the one before.

    The number that is the smaller part of its declared number grows first; of two equal parts, the tuning points.
    """
    share = start
    yield share
    while share != declared:
        tunes = share.points * declared.seeds <= share.seeds * declared.points
        if share.points < declared.points and (tunes or share.seeds >= declared.seeds):
            share = Share(share.points + 1, share.seeds)
        else:
            share = Share(share.points, min(share.seeds + step, declared.seeds))
        yield share


def largest(shares: Iterable[Share], fits: Callable[[Share], bool]) -> Share | None:
    """Return the last share before the first one that does not fit; None if not even the first one fits."""
    found = None
    for share in shares:
        if not fits(share):
            break
        found = share
    return found
