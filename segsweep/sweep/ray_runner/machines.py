"""The machines of a Ray cluster: their resources, and whether they can run workers of this driver."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from segsweep.data.dataset import Notify
from segsweep.errors import UserError
from segsweep.store.protocol import Store
from segsweep.sweep.worker_pool import Node
from segsweep.training.device import Device

CHECK_SECONDS = 120.0  # time limit of a machine's answer: its first process must import torch
SILENT_SECONDS = 5.0  # of waiting for these answers before a line is printed
POLL_SECONDS = 1.0  # interval between queries of the cluster's machines
GIB = 2**30
UNFIT = "unfit machine "  # begins the error message of a worker on an unfit machine; its id and the problem follow


class UnfitMachineError(Exception):
    """The machine of a worker cannot work for the driver."""


@dataclass(frozen=True)
class MachineCheck:
    """A check whether a machine can work for a driver: it must see the driver's store and have the same segsweep.

    The driver has put the `beacon` into its store, by which a machine recognises the store.
    """

    store: Store
    beacon: str
    version: str

    def problem(self) -> str | None:
        """Return the problem of this machine, None if it can work for the driver."""
        if version("segsweep") != self.version:
            return f"has segsweep {version('segsweep')}, but the driver has {self.version}; install the driver's version"
        if not self.store.sees(self.beacon):
            return f"does not see the store {self.store.location}; put --store on a disk that all machines share"
        return None

    def require(self, device: Device | None) -> None:
        """Raise `UnfitMachineError` if this machine cannot work for the driver on `device` (None: no computation here)."""
        if (problem := self.problem()) is not None:
            raise UnfitMachineError(f"{UNFIT}{ray.get_runtime_context().get_node_id()}: {problem}")
        if device is not None and device.cuda:
            require_gpu()


def require_gpu() -> None:
    """Raise `UnfitMachineError` if torch finds no GPU on this machine."""
    if not torch.cuda.is_available():
        problem = "torch finds no GPU there, although Ray counts one; check the machine's GPU driver"
        raise UnfitMachineError(f"{UNFIT}{ray.get_runtime_context().get_node_id()}: {problem}")


@dataclass
class Machines:
    """The current machines of the cluster, except those that cannot work for this driver.

    `exclude` removes a machine for good, and reports its name and the reason to `notify` once.
    """

    check: MachineCheck
    notify: Notify
    _excluded: dict[str, str] = field(default_factory=dict)  # id of a machine -> the reason
    _checked: set[str] = field(default_factory=set)
    _alive: dict[str, dict[str, Any]] = field(default_factory=dict)  # id -> Ray's description of the machine
    _free: dict[str, dict[str, float]] = field(default_factory=dict)  # id -> resources that no job has reserved
    _read_at: float = -POLL_SECONDS

    def nodes(self) -> list[Node]:
        """Return the current resources of each usable machine."""
        self._read()
        usable = {identity: each for identity, each in self._alive.items() if identity not in self._excluded}
        return [_node(each, self._free.get(identity, {})) for identity, each in usable.items()]

    def refresh(self) -> None:
        """Make the next access query the cluster, even if the last query is recent."""
        self._read_at = -POLL_SECONDS

    def _read(self) -> None:
        if time.monotonic() - self._read_at >= POLL_SECONDS:
            self._alive = {node["NodeID"]: node for node in living()}
            self._free = ray._private.state.available_resources_per_node()  # type: ignore[no-untyped-call]
            self._read_at = time.monotonic()

    @property
    def excluded(self) -> tuple[str, ...]:
        """The ids of running machines that cannot work for this driver."""
        return tuple(sorted(self._excluded.keys() & self._alive.keys()))

    def exclude(self, identity: str, problem: str) -> None:
        """Exclude a machine from now on, and report the problem."""
        if identity not in self._excluded:
            self._excluded[identity] = problem
            self.notify(f"node {self.name(identity)} is excluded: {problem}")

    @property
    def here(self) -> str:
        """The id of the driver's machine."""
        return str(ray.get_runtime_context().get_node_id())

    def name(self, identity: str) -> str:
        """Return a machine's host name."""
        return str(self._alive.get(identity, {}).get("NodeManagerHostname", identity))

    def find(self, machine: str) -> str | None:
        """Return the id of the machine with an id or a network address; None if there is no such machine or several."""
        self._read()
        named = [each for each, node in self._alive.items() if machine in (each, node["NodeManagerAddress"])]
        return named[0] if len(named) == 1 else None

    def check_all(self) -> None:
        """Check each new machine once, and exclude those that cannot work for this driver.

        The driver's own machine is not checked, nor are machines without cores and GPUs. A machine that dies during the check is
        ignored. Raises `UserError` if no machine is left.
        """
        self._read()
        asked = {
            identity: _problem_there(self.check, identity)
            for identity, node in self._alive.items()
            if identity not in self._checked and identity != self.here and (node["Resources"].keys() & {"CPU", "GPU"})
        }
        if not asked:
            return
        if ray.wait(list(asked.values()), num_returns=len(asked), timeout=SILENT_SECONDS)[1]:
            machines = f"{len(asked)} machine{'s' * (len(asked) != 1)}"
            self.notify(f"checking whether {machines} can run segsweep; each imports torch first")
        deadline = time.monotonic() + CHECK_SECONDS
        problems = {identity: _answer(answer, deadline) for identity, answer in asked.items()}
        self._checked.update(asked)
        self.refresh()
        self._read()
        for identity, problem in problems.items():
            if problem is not None and identity in self._alive:
                self.exclude(identity, problem)
        self.require_some()

    def require_some(self) -> None:
        """Raise `UserError` with the problem of each machine if all machines that could run workers are excluded."""
        if self._excluded and not any(node.cpus or node.gpus for node in self.nodes()):
            raise UserError("; ".join(f"node {self.name(each)}: {problem}" for each, problem in self._excluded.items()))


def elsewhere_than(machines: Sequence[str]) -> dict[str, str]:
    """Return Ray's label selector for all machines except those with these ids."""
    return {"ray.io/node-id": f"!in({','.join(machines)})"} if machines else {}


@contextmanager
def open_machines(store: Store, notify: Notify) -> Iterator[Machines]:
    """Yield the machines of the connected cluster. Within this context, a beacon is in the store."""
    with store.beacon() as beacon:
        yield Machines(MachineCheck(store, beacon, version("segsweep")), notify)


def living() -> list[dict[str, Any]]:
    """Return Ray's descriptions of the running machines."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _node(machine: dict[str, Any], free: dict[str, float]) -> Node:
    has = machine["Resources"]
    return Node(
        has.get("CPU", 0.0),
        has.get("GPU", 0.0),
        has.get("memory", 0.0) / GIB,
        f"node {machine['NodeManagerHostname']}",
        free.get("CPU", 0.0),
        free.get("GPU", 0.0),
    )


@ray.remote(num_cpus=0, max_retries=0)
def _ask(check: MachineCheck) -> str | None:
    return check.problem()


def _problem_there(check: MachineCheck, identity: str) -> "ray.ObjectRef[str | None]":
    strategy = NodeAffinitySchedulingStrategy(identity, soft=False)
    answer: ray.ObjectRef[str | None] = _ask.options(scheduling_strategy=strategy).remote(check)
    return answer


def _answer(answer: "ray.ObjectRef[str | None]", deadline: float) -> str | None:
    try:
        problem: str | None = ray.get(answer, timeout=max(0.0, deadline - time.monotonic()))
    except ray.exceptions.GetTimeoutError:
        return None  # it may just be slow; a worker that starts there checks again
    except ray.exceptions.RayError as error:
        return f"cannot run segsweep: {str(error).strip().splitlines()[-1]}"
    return problem
