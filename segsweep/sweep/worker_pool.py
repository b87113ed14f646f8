"""The size of one worker (cores and GPUs), and the number of workers that fit on the machines."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor

import torch

from segsweep.errors import UserError
from segsweep.sweep.options import Options, flag
from segsweep.tasks.kinds import KINDS
from segsweep.tasks.task import Task
from segsweep.training.device import Device, cores

MEMORY_GIB = 2.0  # assumed memory of a worker on CPU cores: torch, a small model, a batch
ROUNDING = 1e-9
SHOWN = 8  # machines that a message lists


class TooSmallError(UserError):
    """The available machines are too small for the options; a machine that joins later may be large enough."""


class NotLaunchedYetError(TooSmallError):
    """The machines are yet to be launched by an autoscaler, and this process may not request them."""


def processes_of(task: Task, options: Options) -> int:
    """Return the number of workers that execute a task together."""
    alike = options.workers_per_stage == options.workers_per_trial
    return int(getattr(options, KINDS[task.kind].group_option)) if task.shareable or alike else 1


@dataclass(frozen=True)
class Node:
    """The resources of one machine: CPU cores, GPUs, memory in GiB.

    `free_cpus` and `free_gpus` are those that no job has reserved (None: unknown).
    """

    cpus: float
    gpus: float
    memory_gib: float
    name: str = "this machine"
    free_cpus: float | None = None
    free_gpus: float | None = None

    @property
    def free(self) -> "Node":
        """The machine's resources without those that jobs have reserved."""
        cpus = self.cpus if self.free_cpus is None else self.free_cpus
        return replace(self, cpus=cpus, gpus=self.gpus if self.free_gpus is None else self.free_gpus)

    def __str__(self) -> str:
        parts = [_amount(self.cpus, "core", self.free_cpus)]
        if self.gpus:
            parts.append(_amount(self.gpus, "GPU", self.free_gpus))
        return f"{self.name} has {' and '.join(parts)}"


def _amount(total: float, unit: str, free: float | None = None) -> str:
    text = f"{total:g} {unit}{'' if total == 1 else 's'}"
    return text if free is None or free >= total else f"{text} ({free:g} free)"


@dataclass(frozen=True)
class WorkerSize:
    """The resources that one worker reserves: `cpus` cores, and `gpus` GPUs (0, a share, or 1). It computes on `device`."""

    cpus: float
    gpus: float
    device: Device

    @property
    def bundle(self) -> dict[str, float]:
        """The resources of one worker, under Ray's names."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}

    def places(self, node: Node) -> int:
        """Return the number of workers that fit on a machine, ignoring other jobs on it."""
        return min(_most_places(node, self.gpus), floor(node.cpus / self.cpus + ROUNDING))


@dataclass(frozen=True)
class WorkerPool:
    """A pool of equal workers: `workers` fit on the machines now, and at `most` that many can run if machines join."""

    workers: int
    most: int
    size: WorkerSize

    def __str__(self) -> str:
        many = f"{self.workers} workers" if self.workers > 1 else "1 worker"
        if not self.size.gpus:
            return f"{many} of {self.size.device.label}"
        return f"{many} with {self.size.gpus:g} GPU{', deterministic' if self.size.device.deterministic else ''}"


def fit_pool(nodes: Sequence[Node], options: Options, at_most: int) -> WorkerPool:
    """Return the worker pool that machines and options allow, limited to the number of tasks that can run at once (`at_most`).

    With GPUs, a worker has one GPU or the requested share. Without GPUs, the number of cores and the memory limit the number of
    workers. The cores of each machine are divided among its workers. Raises `TooSmallError` if no worker, or no group of workers,
    fits.
    """
    share = gpu_share(nodes, options)
    most = most_workers(options, at_most)
    limits = [_most_places(node, share) for node in nodes]
    wanted = min(sum(limits), most)
    cpus = float(options.threads) if options.threads else _cpus(nodes, limits, wanted)
    size = WorkerSize(cpus, share, Device("cuda" if share else "cpu", max(1, int(cpus)), options.deterministic))
    workers = min(most, sum(size.places(node) for node in nodes))
    if workers < 1:
        raise TooSmallError(f"{_too_large(options, share)}: {_offers(nodes)}")
    if workers < options.group:
        raise TooSmallError(f"{_group_flag(options)} {options.group}: only {workers} workers fit: {_offers(nodes)}")
    return WorkerPool(workers, most, size)


def gpu_share(nodes: Sequence[Node], options: Options) -> float:
    """Return the number of GPUs per worker on these machines: 1 or a share; 0 if workers compute on CPU cores.

    Raises `TooSmallError` if the options require GPUs and no machine has one.
    """
    there = any(node.gpus for node in nodes)
    if options.device.startswith("cuda:"):
        raise UserError(
            f"--device {options.device}: Ray assigns GPUs to workers; restrict them with CUDA_VISIBLE_DEVICES, "
            "or use --runner inline"
        )
    wanted = options.device == "cuda" or options.gpus_per_trial is not None
    if wanted and not there:
        what = f"--gpus-per-trial {options.gpus_per_trial:g}" if options.gpus_per_trial else f"--device {options.device}"
        raise TooSmallError(f"{what}: no machine has a GPU: {_offers(nodes)}; omit the option to compute on CPU cores")
    on_gpus = options.device == "cuda" or (options.device == "auto" and there)
    return (options.gpus_per_trial or 1.0) if on_gpus else 0.0


def most_workers(options: Options, at_most: int) -> int:
    """Return the maximum number of workers at any time. Raises `UserError` if a group needs more."""
    most = max(at_most, 1) * options.group
    if options.max_concurrent is None:
        return most
    if options.max_concurrent < options.group:
        raise UserError(
            f"{_group_flag(options)} {options.group}: needs more workers than --max-concurrent {options.max_concurrent} allows"
        )
    return min(most, options.max_concurrent)


def machine_for(bundle: Mapping[str, float]) -> str:
    """Return, in words, a machine that fits a worker with these resources (under Ray's names)."""
    gpus = bundle.get("GPU", 0.0)
    parts = [_amount(bundle["CPU"], "core"), *([_amount(gpus, "GPU")] if gpus else [])]
    return f"a machine with {' and '.join(parts)}"


def free_places(nodes: Sequence[Node], size: WorkerSize) -> int:
    """Return the number of workers that fit on the machines beside the running jobs."""
    return sum(size.places(node.free) for node in nodes)


def _too_large(options: Options, share: float) -> str:
    beside = " beside a GPU" if share else ""
    if not options.threads:
        return f"no machine has a core for a worker{beside}"
    return f"--threads {options.threads}: no machine has {_amount(options.threads, 'core')}{beside}"


def _group_flag(options: Options) -> str:
    return flag("workers_per_stage" if options.workers_per_stage == options.group else "workers_per_trial")


def _offers(nodes: Sequence[Node]) -> str:
    listed = [str(node) for node in nodes[:SHOWN]]
    if len(nodes) > SHOWN:
        listed.append(f"and {len(nodes) - SHOWN} more")
    return ", ".join(listed) or "the cluster has none"


def _most_places(node: Node, share: float) -> int:
    """Return the maximum number of workers on a machine by its GPUs; for a share of 0, by its cores and memory."""
    if share:
        return floor(node.gpus) * floor(1 / share + ROUNDING)
    return max(1, min(floor(node.cpus), floor(node.memory_gib / MEMORY_GIB))) if node.cpus >= 1 else 0


def _cpus(nodes: Sequence[Node], limits: Sequence[int], wanted: int) -> float:
    """Return the largest number of cores per worker with which `wanted` workers fit; a share of a core if cores are few."""

    def fit(cpus: float) -> bool:
        return sum(min(limit, floor(node.cpus / cpus)) for node, limit in zip(nodes, limits, strict=True)) >= wanted

    whole_cores = range(floor(max((node.cpus for node in nodes), default=1)), 0, -1)
    parts = (floor(1e4 / count) / 1e4 for count in range(2, 65))  # Ray counts in ten-thousandths
    return next((cpus for cpus in (*map(float, whole_cores), *parts) if fit(cpus)), 1.0)


def this_machine() -> Node:
    """Return the resources of this machine."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Node(cores(), torch.cuda.device_count(), memory_bytes / 2**30)
