"""The number of workers while machines join and leave, with an invented clock."""

from types import SimpleNamespace

import pytest

from segsweep.errors import OutageError
from segsweep.sweep.options import Options
from segsweep.sweep.ray_runner.autoscaler import AutoscalerReport
from segsweep.sweep.ray_runner.capacity import ASKED, STALLED_SECONDS, Capacity
from segsweep.sweep.worker_pool import Node, fit_pool

GPU = Node(cpus=8, gpus=1, memory_gib=32)
HEAD = Node(cpus=4, gpus=0, memory_gib=16)


class Cluster:
    """Machines, an autoscaler's report, the time in seconds, and the printed lines."""

    def __init__(
        self, *nodes: Node, most: int = 1000, autoscaler: bool = False, limit_seconds: float = float("inf"), **options: int
    ) -> None:
        self.nodes, self.seconds, self.lines, self.shown, self.waits = list(nodes), 0.0, [], [], []
        view = SimpleNamespace(
            notify=self.lines.append, workers=lambda *shown: self.shown.append(shown), waiting=self.waits.append
        )
        self.report = AutoscalerReport(present=True)
        pool = fit_pool(nodes, Options(**options), at_most=most)
        self.capacity = Capacity(
            pool,
            "the cluster",
            lambda: self.nodes,
            view,
            (lambda: self.report) if autoscaler else None,
            limit_seconds,
            lambda: self.seconds,
        )


def test_machines_that_join_and_leave_are_counted_and_reported():
    """Each change of the number of workers counts at once and is one line; machines without GPUs have none."""
    cluster = Cluster(HEAD, GPU)
    assert cluster.capacity.places() == 1
    cluster.nodes += [GPU, GPU, HEAD]
    assert cluster.capacity.places() == 3
    cluster.nodes = [HEAD, GPU]
    assert [cluster.capacity.places() for _ in range(3)] == [1, 1, 1]
    assert cluster.lines == ["machines joined: 3 workers now, 1 before", "machines left: 1 worker now, 3 before"]
    assert cluster.shown == [(3, "3 workers with 1 GPU, the cluster"), (1, "1 worker with 1 GPU, the cluster")]


def test_there_are_never_more_workers_than_allowed():
    """However many machines join or can be launched, `--max-concurrent` and the number of tasks are the limit."""
    cluster = Cluster(GPU, most=3, autoscaler=True)
    assert cluster.capacity.places() == 3
    cluster.nodes = [GPU] * 20
    assert cluster.capacity.places() == 3
    assert cluster.capacity.workers == 3


def test_requests_to_an_autoscaler_grow_while_it_launches():
    """Additional workers are requested, twice as many as machines join; at the autoscaler's limit one request remains."""
    cluster = Cluster(GPU, autoscaler=True)
    assert cluster.capacity.places() == 1 + ASKED
    cluster.nodes = [GPU] * 20
    assert cluster.capacity.places() == 40
    cluster.seconds = STALLED_SECONDS + 1
    assert cluster.capacity.places() == 21
    cluster.seconds, cluster.report = 2 * STALLED_SECONDS, AutoscalerReport(True, launching=("1 spot",))
    assert cluster.capacity.places() == 40


def test_without_machines_a_study_waits_and_resumes():
    """When the last machine leaves, one line reports it; when one joins, its workers count again."""
    cluster = Cluster(GPU)
    cluster.nodes = []
    assert [cluster.capacity.places() for _ in range(3)] == [0, 0, 0]
    cluster.seconds = 1e6
    assert cluster.capacity.places() == 0
    cluster.nodes = [GPU]
    assert cluster.capacity.places() == 1
    assert sum("waits for machines to join" in line for line in cluster.lines) == 1
    assert cluster.waits == ["machines for a worker: there are 0", None]


def test_a_wait_without_machines_has_a_limit():
    """With a limit, the wait ends in an outage, counted from the time when the last machine left."""
    cluster = Cluster(GPU, limit_seconds=60.0)
    cluster.nodes, cluster.seconds = [], 1000.0
    assert cluster.capacity.places() == 0
    cluster.seconds = 1059.0
    assert cluster.capacity.places() == 0
    cluster.seconds = 1061.0
    with pytest.raises(OutageError, match="too few machines for workers for 61 s; nothing is lost"):
        cluster.capacity.places()


def test_machines_for_a_group_are_requested_again():
    """When a preemption leaves too few workers for a task of four, four are requested however long ago the autoscaler launched,
    and the status shows what is missing; without an autoscaler, the wait has the same limit as one without machines."""
    cluster = Cluster(GPU, GPU, GPU, GPU, autoscaler=True, workers_per_trial=4)
    cluster.seconds = 10 * STALLED_SECONDS
    assert cluster.capacity.places(4) >= 8
    for left in (2, 0):
        cluster.nodes = [GPU] * left
        assert cluster.capacity.places(4) >= 4
        cluster.seconds += 2 * STALLED_SECONDS
        assert cluster.capacity.places(4) == left + 4
    assert cluster.waits == ["machines for 4 workers that train together: there are 2"]
    alone = Cluster(GPU, GPU, workers_per_trial=2, limit_seconds=60.0)
    alone.nodes = [GPU]
    assert alone.capacity.places(2) == 1
    assert alone.waits == ["machines for 2 workers that train together: there are 1"]
    assert alone.capacity.places(1) == 1  # a task with one worker continues meanwhile
    assert alone.waits[-1] is None
    assert alone.capacity.places(2) == 1
    alone.seconds += 61.0
    with pytest.raises(OutageError):
        alone.capacity.places(2)


def test_a_machine_that_is_too_small_is_reported_once():
    """A machine with too few cores for a worker of the first machine's size has none; one line names the remedy."""
    small = Node(cpus=4, gpus=4, memory_gib=32, name="node small")
    cluster = Cluster(GPU)
    cluster.nodes = [GPU, small, HEAD]
    assert [cluster.capacity.places() for _ in range(3)] == [1, 1, 1]
    assert cluster.lines == [
        "node small has 4 cores and 4 GPUs, too few for a worker with 8 cores; --threads N sets the cores per worker"
    ]
