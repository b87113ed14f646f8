"""The capacity of a cluster: the number of workers that fit while machines join and leave."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from segsweep.durations import readable_seconds
from segsweep.errors import OutageError
from segsweep.sweep.progress import View
from segsweep.sweep.ray_runner.autoscaler import AutoscalerReport
from segsweep.sweep.worker_pool import Node, WorkerPool

REPORT_SECONDS = 5.0  # interval between reads of the autoscaler's report
STALLED_SECONDS = 60.0  # time without a launch or a change after which the autoscaler counts as being at its limit
ASKED = 8  # minimum number of additional workers requested from an autoscaler; more if there are already more workers


@dataclass
class Capacity:
    """Counts the workers that fit on the running machines, plus those that are requested from an autoscaler.

    `nodes` returns the running machines. `report` returns the autoscaler's report; it is None if there is no autoscaler. `view`
    receives every change of the number of workers; `name` is the cluster in words. If there are too few workers for longer than
    `limit_seconds`, `places` raises `OutageError`.
    """

    pool: WorkerPool
    name: str
    nodes: Callable[[], Sequence[Node]]
    view: View
    report: Callable[[], AutoscalerReport] | None = None
    limit_seconds: float = math.inf
    clock: Callable[[], float] = time.monotonic
    workers: int = field(init=False)
    _moved_at: float = field(init=False)  # last time at which machines joined, left or were being launched
    _report_at: float = field(default=-math.inf, init=False)
    _waiting_since: float | None = field(default=None, init=False)
    _small: set[str] = field(default_factory=set, init=False)  # names of machines that were reported as too small

    def __post_init__(self) -> None:
        self.workers = self.pool.workers
        self._moved_at = self.clock()

    def places(self, wanted: int = 1) -> int:
        """Return the number of worker processes that may be assigned: for existing workers plus requested ones.

        `wanted` is the number of processes of the next task. While there are fewer workers, the study waits for machines.
        """
        self._count()
        self._wait_for(wanted)
        return min(self.pool.most, self.workers + self._asked(wanted))

    def _count(self) -> None:
        """Count the workers that fit on the machines now, and report a change."""
        size, most = self.pool.size, self.pool.most
        nodes = self.nodes()
        found = min(most, sum(size.places(node) for node in nodes))
        self._name_small(nodes)
        if found != self.workers:
            change = f"{found} workers" if found != 1 else "1 worker"
            self.view.notify(f"machines {'joined' if found > self.workers else 'left'}: {change} now, {self.workers} before")
            self._moved_at = self.clock()
            self.view.workers(found, f"{replace(self.pool, workers=found)}, {self.name}")
            self.workers = found

    def _name_small(self, nodes: Sequence[Node]) -> None:
        """Report each machine once that is too small for a worker of this study."""
        size = self.pool.size
        for node in nodes:
            has = node.gpus if size.gpus else node.cpus
            if has and not size.places(node) and node.name not in self._small:
                self._small.add(node.name)
                self.view.notify(f"{node}, too few for a worker with {size.cpus:g} cores; --threads N sets the cores per worker")

    def _wait_for(self, wanted: int) -> None:
        """Report that the study waits for machines while there are too few workers. Raises `OutageError` after the limit."""
        if self.workers >= wanted:
            if self._waiting_since is not None:
                self.view.waiting(None)
            self._waiting_since = None
            return
        now = self.clock()
        if self._waiting_since is None:
            self._waiting_since = now
            need = f"{wanted} workers that train together" if wanted > 1 else "a worker"
            self.view.waiting(f"machines for {need}: there are {self.workers}")
            self.view.notify(f"too few machines for {need}: the study waits for machines to join")
        if now - self._waiting_since > self.limit_seconds:
            waited = readable_seconds(now - self._waiting_since)
            raise OutageError(f"too few machines for workers for {waited}; nothing is lost: the same command continues")

    def _asked(self, wanted: int) -> int:
        """Return the number of additional workers to request; only those of the next task if the autoscaler is stalled."""
        if self.report is None:
            return 0
        now = self.clock()
        if now - self._report_at >= REPORT_SECONDS:
            self._report_at = now
            self._moved_at = now if self.report().launching else self._moved_at
        return max(ASKED, self.workers, wanted) if now - self._moved_at < STALLED_SECONDS else wanted
