"""How many workers there can be at any moment, while machines join and leave."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from segsweep.durations import readable_seconds
from segsweep.errors import OutageError
from segsweep.sweep.progress import View
from segsweep.sweep.ray_runner.autoscaler import AutoscalerReport
from segsweep.sweep.worker_pool import Node, WorkerPool

REPORT_SECONDS = 5.0  # how often the autoscaler's report is read
STALLED_SECONDS = 60.0  # without a launch or a machine that joins, after which the autoscaler is taken to be at its limit
ASKED = 8  # places that an autoscaler is asked for at least, beside those that there are; as many again where there are more


@dataclass
class Capacity:
    """Counts the places for workers on the machines that are up, and those that an autoscaler is asked for.

    `nodes` returns the machines that are up, `report` what the autoscaler says; None where there is none. `view` gets each change
    of the number of workers; `name` is what they run on, in words. Where no machine is left for longer than `limit_seconds`,
    `places` raises `OutageError`.
    """

    pool: WorkerPool
    name: str
    nodes: Callable[[], Sequence[Node]]
    view: View
    report: Callable[[], AutoscalerReport] | None = None
    limit_seconds: float = math.inf
    clock: Callable[[], float] = time.monotonic
    workers: int = field(init=False)
    _grew_at: float = field(init=False)
    _report_at: float = field(default=-math.inf, init=False)
    _none_since: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.workers = self.pool.workers
        self._grew_at = self.clock()

    def places(self) -> int:
        """Return how many tasks of one process may be handed out at once: for workers that run and for those asked for."""
        self._count()
        return min(self.pool.most, self.workers + self._asked())

    def _count(self) -> None:
        """Count the workers that the machines hold now, and say where that has changed."""
        size, most = self.pool.size, self.pool.most
        found = min(most, sum(size.places(node) for node in self.nodes()))
        if found != self.workers:
            change = f"{found} workers" if found != 1 else "1 worker"
            self.view.notify(f"machines have {'joined' if found > self.workers else 'left'}: {change} now, {self.workers} before")
            self._grew_at = self.clock() if found > self.workers else self._grew_at
            self.view.workers(found, f"{replace(self.pool, workers=found)}, {self.name}")
            self.workers = found
        self._watch_for_none()

    def _watch_for_none(self) -> None:
        if self.workers:
            if self._none_since is not None:
                self.view.waiting(None)
            self._none_since = None
            return
        now = self.clock()
        if self._none_since is None:
            self._none_since = now
            self.view.waiting("a machine to join")
            self.view.notify("no machine is left for workers: the study waits for one to join; Ctrl-C ends it for now")
        if now - self._none_since > self.limit_seconds:
            waited = readable_seconds(now - self._none_since)
            raise OutageError(f"no machine for a worker joined for {waited}; nothing is lost: the same command continues")

    def _asked(self) -> int:
        """Return for how many further workers the autoscaler is asked: for one alone while it launches nothing."""
        if self.report is None:
            return 0
        now = self.clock()
        if now - self._report_at >= REPORT_SECONDS:
            self._report_at = now
            self._grew_at = now if self.report().launching else self._grew_at
        return max(ASKED, self.workers) if now - self._grew_at < STALLED_SECONDS else 1
