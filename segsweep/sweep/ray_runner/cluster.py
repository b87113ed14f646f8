"""The Ray cluster: attached to where there is one, started on this machine where there is none, and checked."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from segsweep.errors import UserError
from segsweep.store.protocol import Store
from segsweep.sweep.worker_pool import Node
from segsweep.training.device import Device, resolve_precision

OBJECTS_BYTES = 256 * 2**20  # for Ray's object store: arrays go through segsweep's own store
REACH_SECONDS = 2.0
CHECK_SECONDS = 120.0  # for a node's answer: its first process has to import torch
GIB = 2**30


@contextmanager
def cluster() -> Iterator[str]:
    """Attach to the Ray cluster at hand, or start one on this machine for as long as it is used. Yields its name.

    At hand is one that this process is connected to already, the one that RAY_ADDRESS names, and one that was started on
    this machine with `ray start`. Raises `UserError` where a cluster cannot be used.
    """
    if ray.is_initialized():
        yield "the Ray cluster at hand"
        return
    address = cluster_address() or "local"
    # found by itself, Ray also finds the token that a cluster may ask for
    arguments: dict[str, Any] = {"address": "local", "object_store_memory": OBJECTS_BYTES} if address == "local" else {}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"Ray cluster {address}: cannot be used: {reason}; is it up, and does it want RAY_AUTH_MODE=token? "
            "RAY_ADDRESS=local starts one on this machine"
        ) from None
    try:
        yield "Ray on this machine" if address == "local" else f"the Ray cluster {ray.get_runtime_context().gcs_address}"
    finally:
        ray.shutdown()


def cluster_address() -> str | None:
    """Return the address of the cluster that this process would attach to, `local` where one is to be started, else None.

    Raises `UserError` where RAY_ADDRESS names a cluster that does not answer.
    """
    if ray.is_initialized():
        address: str = ray.get_runtime_context().gcs_address
        return address
    named = os.environ.get("RAY_ADDRESS")
    if named in (None, "", "auto"):
        return running_here()
    if named != "local" and not answers(str(named)):
        raise UserError(
            f"RAY_ADDRESS={named}: no Ray cluster answers there; give HOST:PORT of its head (not ray://), "
            "or local to start one on this machine"
        )
    return named


def running_here() -> str | None:
    """Return the address of a cluster that `ray start` left on this machine, None where none answers."""
    folder = Path(os.environ.get("RAY_TMPDIR", "/tmp"))  # Ray's rule, whatever TMPDIR says
    try:
        address = (folder / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return address if answers(address) else None


def answers(address: str) -> bool:
    """Return whether something listens at HOST:PORT. Ray itself would wait for ever where nothing does."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=REACH_SECONDS):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def nodes() -> list[Node]:
    """Return what the machines of the cluster offer."""
    offers = [node["Resources"] for node in living()]
    return [Node(each.get("CPU", 0.0), each.get("GPU", 0.0), each.get("memory", 0.0) / GIB) for each in offers]


def living() -> list[dict[str, Any]]:
    """Return what Ray knows of the machines that are up."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def check_nodes(store: Store) -> None:
    """Have every machine of a cluster say that it sees the store and has the same segsweep.

    Raises `UserError` that names each machine which does not. A cluster of one machine that is this one needs no check.
    """
    alive = living()
    here = ray.get_runtime_context().get_node_id()
    if [node["NodeID"] for node in alive] == [here]:
        return
    with store.beacon() as beacon:
        strategies = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in alive]
        asked = [_check_node.options(scheduling_strategy=each).remote(store, beacon, version("segsweep")) for each in strategies]
        found = [(node["NodeManagerHostname"], _answer(answer)) for node, answer in zip(alive, asked, strict=True)]
        problems = [f"node {name}: {problem}" for name, problem in found if problem is not None]
    if problems:
        raise UserError("; ".join(problems))


@ray.remote(num_cpus=0, max_retries=0)
def _check_node(store: Store, beacon: str, wanted: str) -> str | None:
    return problem_with(store, beacon, wanted)


def problem_with(store: Store, beacon: str, wanted: str) -> str | None:
    """Return what keeps this machine from working for a driver, None where nothing does."""
    if version("segsweep") != wanted:
        return f"has segsweep {version('segsweep')}, the driver {wanted}; install the same"
    if not store.sees(beacon):
        return f"does not see the store {store.location}; put --store on a disk that all nodes share"
    return None


def _answer(answer: "ray.ObjectRef[str | None]") -> str | None:
    try:
        problem: str | None = ray.get(answer, timeout=CHECK_SECONDS)
    except ray.exceptions.GetTimeoutError:
        return f"did not answer within {CHECK_SECONDS:.0f} s"
    except ray.exceptions.RayError as error:
        return f"cannot run segsweep: {str(error).strip().splitlines()[-1]}"
    return problem


def precision_on_gpus(precision: str, gpus: float) -> str:
    """Return what `auto` is on the cluster's GPUs, by asking a process that has one."""
    ask = ray.remote(num_cpus=0, num_gpus=gpus)(resolve_precision)
    resolved: str = ray.get(ask.remote(precision, Device("cuda", 1)))
    return resolved
