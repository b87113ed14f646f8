"""How many workers fit on the machines at hand, and what each of them is given."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import torch

from segsweep.errors import UserError
from segsweep.sweep.options import Options, flag
from segsweep.training.device import Device, cores

MEMORY_GIB = 2.0  # what a worker on a CPU is taken to need: torch, a small model, a batch


@dataclass(frozen=True)
class Node:
    """What one machine offers: CPU cores, GPUs, memory in GiB."""

    cpus: float
    gpus: float
    memory_gib: float


@dataclass(frozen=True)
class WorkerPool:
    """So many workers, each with so many `cpus` and `gpus`; `device` is what each of them computes on."""

    workers: int
    cpus: float
    gpus: float
    device: Device

    def __str__(self) -> str:
        many = f"{self.workers} workers" if self.workers > 1 else "1 worker"
        if not self.gpus:
            return f"{many} of {self.device.label}"
        return f"{many} with {self.gpus:g} GPU{', deterministic' if self.device.deterministic else ''}"


def fit_pool(nodes: Sequence[Node], options: Options, at_most: int) -> WorkerPool:
    """Return the workers that machines and options allow, and no more than there can be work for at once.

    With GPUs, a worker has one of them or the share that is asked for. Without, as many as there are cores and memory for.
    The cores of each machine are divided among its workers. Raises `UserError` where nothing or too little fits.
    """
    gpus = sum(node.gpus for node in nodes)
    on_gpus = options.device.startswith("cuda") or (options.device == "auto" and gpus > 0)
    if (on_gpus or options.gpus_per_trial) and not gpus:
        what = f"--gpus-per-trial {options.gpus_per_trial:g}" if options.gpus_per_trial else f"--device {options.device}"
        raise UserError(f"{what}: there are no GPUs here; leave it out to work on the CPU cores")
    share = (options.gpus_per_trial or 1.0) if on_gpus else 0.0
    limits = [_places(node, share) for node in nodes]
    if on_gpus and options.device.startswith("cuda:"):
        raise UserError(f"--device {options.device}: Ray gives workers their GPUs; set CUDA_VISIBLE_DEVICES, or --runner inline")
    wanted = min(sum(limits), options.max_concurrent or sum(limits), max(at_most, 1) * options.group)
    cpus = float(options.threads) if options.threads else _cpus(nodes, limits, wanted)
    fitting = sum(min(limit, floor(node.cpus / cpus)) for node, limit in zip(nodes, limits, strict=True))
    if fitting < 1:
        raise UserError(f"--threads {options.threads}: the largest machine has {max(node.cpus for node in nodes):g} cores")
    if min(fitting, wanted) < options.group:
        name = "workers_per_stage" if options.workers_per_stage == options.group else "workers_per_trial"
        raise UserError(f"{flag(name)} {options.group}: only {min(fitting, wanted)} workers fit here")
    device = Device("cuda" if on_gpus else "cpu", max(1, int(cpus)), options.deterministic)
    return WorkerPool(min(fitting, wanted), cpus, share, device)


def _places(node: Node, share: float) -> int:
    """Return how many workers a machine holds at most."""
    if share:
        return floor(node.gpus) * floor(1 / share + 1e-9)
    return max(1, min(floor(node.cpus), floor(node.memory_gib / MEMORY_GIB))) if node.cpus >= 1 else 0


def _cpus(nodes: Sequence[Node], limits: Sequence[int], wanted: int) -> float:
    """Return the most cores per worker with which the wanted number of workers fits; a share of a core where they are few."""

    def fit(cpus: float) -> bool:
        return sum(min(limit, floor(node.cpus / cpus)) for node, limit in zip(nodes, limits, strict=True)) >= wanted

    whole_cores = range(floor(max((node.cpus for node in nodes), default=1)), 0, -1)
    parts = (floor(1e4 / count) / 1e4 for count in range(2, 65))  # Ray counts in ten-thousandths
    return next((cpus for cpus in (*map(float, whole_cores), *parts) if fit(cpus)), 1.0)


def this_machine() -> Node:
    """Return what this machine offers."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Node(cores(), torch.cuda.device_count(), memory_bytes / 2**30)
