"""The workers of a study on a cluster, and the machines that it waits for, with invented machines and an invented autoscaler."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from segsweep.errors import OutageError, UserError
from segsweep.sweep.options import Options
from segsweep.sweep.ray_runner import waiting
from segsweep.sweep.ray_runner.autoscaler import AutoscalerReport
from segsweep.sweep.ray_runner.waiting import Waiting
from segsweep.sweep.worker_pool import Node, NotLaunchedYetError, TooSmallError, WorkerPool

HEAD = Node(cpus=0, gpus=0, memory_gib=16, name="node head", free_cpus=0.0, free_gpus=0.0)
CPU_HEAD = Node(cpus=4, gpus=0, memory_gib=16, name="node head", free_cpus=4.0, free_gpus=0.0)
GPU = Node(cpus=8, gpus=1, memory_gib=32, name="node gpu", free_cpus=8.0, free_gpus=1.0)
LAUNCHES, TELLS = 2.0, 1.0  # seconds until a machine joins, and until the autoscaler reports
ABSENT = AutoscalerReport(present=False)


@dataclass
class Cluster:
    """Machines, the types that an autoscaler can launch (None: no autoscaler), and a clock that sleeping advances."""

    nodes: list[Node]
    types: list[Node] | None = None
    capacity: bool = True  # whether the cloud has the machines that the autoscaler requests
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)
    waits: list[str | None] = field(default_factory=list)  # the reasons for waiting that the view shows
    asked: list[tuple[dict[str, float], int]] = field(default_factory=list)
    asking: tuple[float, dict[str, float]] | None = None

    @contextmanager
    def ask(self, bundle: Mapping[str, float], count: int):
        """Launch a machine that fits, after some time."""
        self.asked.append((dict(bundle), count))
        self.asking = (self.seconds, dict(bundle))
        yield
        self.asking = None

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        since, bundle = self.asking
        if self.seconds - since >= LAUNCHES and self.capacity and (fitting := self.fitting(bundle)):
            self.nodes.append(fitting[0])

    def fitting(self, bundle: Mapping[str, float]) -> list[Node]:
        return [node for node in self.types or () if node.cpus >= bundle["CPU"] and node.gpus >= bundle.get("GPU", 0.0)]

    def report(self) -> AutoscalerReport:
        if self.types is None:
            return ABSENT
        if self.asking is None or self.seconds - self.asking[0] < TELLS:
            return AutoscalerReport(True)
        if not self.fitting(self.asking[1]):
            return AutoscalerReport(True, infeasible=(self.asking[1],))
        return (
            AutoscalerReport(True, launching=("1 spot",)) if self.capacity else AutoscalerReport(True, failed="spot: no capacity")
        )


@pytest.fixture
def pool_on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., WorkerPool]:
    """Return the worker pool on a cluster, for some options."""

    def find(cluster: Cluster, may_ask: bool = True, **options: object) -> WorkerPool:
        clock = SimpleNamespace(monotonic=lambda: cluster.seconds, sleep=cluster.sleep)
        monkeypatch.setattr(waiting, "time", clock)
        monkeypatch.setattr(waiting, "asking_for", cluster.ask)
        view = SimpleNamespace(notify=cluster.lines.append, waiting=cluster.waits.append)
        machines = SimpleNamespace(nodes=lambda: cluster.nodes, check_all=lambda: None)
        return Waiting(machines, Options(**options), 100, view, cluster.report).pool(may_ask=may_ask)

    return find


def test_an_empty_head_requests_machines(pool_on) -> None:
    """On a head without cores, a machine with a GPU is requested; the worker's size is that of the machine that joins."""
    cluster = Cluster([HEAD], types=[GPU])
    pool = pool_on(cluster)
    assert (pool.workers, pool.size.cpus, pool.size.gpus, pool.most) == (1, 8, 1, 100)
    assert cluster.asked == [({"CPU": 1.0, "GPU": 1.0}, 1)]
    assert cluster.lines[0].startswith(
        "waiting for a machine with 1 core and 1 GPU: the autoscaler has not launched a machine yet"
    )
    assert "the autoscaler launches 1 spot" in cluster.lines[1]
    assert cluster.seconds == pytest.approx(LAUNCHES, abs=1)
    assert cluster.waits[0] == "a machine with 1 core and 1 GPU: the autoscaler has not launched a machine yet"
    assert cluster.waits[-2:] == ["a machine with 1 core and 1 GPU: the autoscaler launches 1 spot", None]


def test_gpus_that_can_join_are_preferred_to_the_heads_cores(pool_on) -> None:
    """If an autoscaler can launch GPUs, they are requested although the head has cores; `--device cpu` uses the cores."""
    pool = pool_on(Cluster([CPU_HEAD], types=[GPU]))
    assert (pool.workers, pool.size.gpus) == (1, 1)
    cluster = Cluster([CPU_HEAD], types=[GPU])
    assert pool_on(cluster, device="cpu").size.gpus == 0
    assert cluster.asked == []


def test_cores_are_used_if_no_gpu_can_join(pool_on) -> None:
    """If the autoscaler reports that it has no machine with a GPU, cores are used within seconds, and a line reports it."""
    cluster = Cluster([CPU_HEAD], types=[CPU_HEAD])
    pool = pool_on(cluster)
    assert (pool.workers, pool.size.gpus) == (4, 0)
    assert cluster.seconds <= 2
    assert "no machine with a GPU can join: workers compute on CPU cores" in cluster.lines[-1]
    cluster = Cluster([HEAD], types=[CPU_HEAD])
    assert pool_on(cluster, threads=2).workers == 2
    assert [bundle for bundle, _ in cluster.asked] == [{"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0}]


def test_requests_match_the_options(pool_on) -> None:
    """Cores, the share of a GPU and the number of workers that train together are requested as the options require."""
    big = Node(cpus=32, gpus=4, memory_gib=256, name="node big", free_cpus=32.0, free_gpus=4.0)
    cluster = Cluster([HEAD], types=[GPU, big])
    assert pool_on(cluster, threads=16, gpus_per_trial=0.5).workers == 2
    assert cluster.asked == [({"CPU": 16.0, "GPU": 0.5}, 1)]
    cluster = Cluster([HEAD], types=[big])
    assert pool_on(cluster, device="cuda", workers_per_trial=4).workers == 4
    assert cluster.asked == [({"CPU": 1.0, "GPU": 1.0}, 4)]
    cluster = Cluster([HEAD, GPU], types=[GPU, big])  # GPUs are there already, with too few cores
    assert pool_on(cluster, threads=16).workers == 2
    assert cluster.asked == [({"CPU": 16.0, "GPU": 1.0}, 1)]


def test_an_impossible_demand_gives_a_warning_and_then_an_error(pool_on) -> None:
    """An impossible demand is reported within 20 s, and is an error with its reason after `--wait-for-nodes`."""
    cluster = Cluster([HEAD], types=[GPU])
    with pytest.raises(UserError, match=r"a machine with 64 cores and 1 GPU did not join within 2\.0 min") as raised:
        pool_on(cluster, device="cuda", threads=64, wait_for_nodes=2.0)
    assert "no machine type has these resources" in str(raised.value)
    assert "reduce --threads" in str(raised.value)
    assert "no machine type has these resources" in cluster.lines[1]
    assert "(1.0 s of at most 2.0 min, --wait-for-nodes)" in cluster.lines[1]
    assert len(cluster.lines) <= 4


def test_a_cloud_without_capacity_ends_as_an_outage(pool_on) -> None:
    """If a machine type fits but none is available, the end is an outage that can be retried, not a mistake of the user."""
    cluster = Cluster([HEAD], types=[GPU], capacity=False)
    with pytest.raises(OutageError, match=r"could not launch a machine: spot: no capacity; nothing is lost"):
        pool_on(cluster, wait_for_nodes=1.0)


def test_without_an_autoscaler_nothing_is_waited_for(pool_on) -> None:
    """If no machine can ever join, a demand that does not fit is an error at once, with the resources of each machine."""
    cluster = Cluster([HEAD, CPU_HEAD])
    with pytest.raises(TooSmallError, match="--threads 8: no machine has 8 cores: node head has 0 cores, node head has 4 cores"):
        pool_on(cluster, threads=8)
    assert cluster.seconds == 0
    assert pool_on(cluster).workers == 4


def test_a_plan_requests_no_machine(pool_on) -> None:
    """A plan launches nothing, whether nothing fits or GPUs may join."""
    for node in (HEAD, CPU_HEAD):
        cluster = Cluster([node], types=[GPU])
        with pytest.raises(NotLaunchedYetError):
            pool_on(cluster, may_ask=False)
        assert cluster.asked == []


def test_resources_that_other_jobs_occupy_are_reported(pool_on) -> None:
    """If other jobs occupy a part of the machines, a line states which and how many; it is not an error."""
    busy = Node(cpus=8, gpus=1, memory_gib=32, name="node busy", free_cpus=8.0, free_gpus=0.0)
    cluster = Cluster([GPU, busy])
    assert pool_on(cluster).workers == 2
    assert cluster.lines == [
        "other jobs occupy the resources of 1 of 2 workers, which start when these are freed: "
        "node busy has 8 cores and 1 GPU (0 free)"
    ]


def test_an_autoscaler_without_explanations_ends_in_an_error_too(pool_on) -> None:
    """Ray's v1 autoscaler does not report infeasible demands: if it has launched nothing in time, nothing can join."""
    cluster = Cluster([HEAD], types=[])
    cluster.report = lambda: AutoscalerReport(True)  # type: ignore[method-assign]
    with pytest.raises(UserError, match="the autoscaler has not launched a machine yet; reduce --threads"):
        pool_on(cluster, device="cpu", wait_for_nodes=1.0)


def test_cores_are_used_in_the_end_if_gpus_are_unavailable(pool_on) -> None:
    """With `--device auto`, a study that can compute on cores does not end for lack of GPUs."""
    cluster = Cluster([CPU_HEAD], types=[GPU], capacity=False)
    assert pool_on(cluster, wait_for_nodes=2.0).size.gpus == 0
    assert cluster.seconds == pytest.approx(120, abs=2)
