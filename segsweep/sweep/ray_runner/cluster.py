"""The Ray cluster: attach to a running one, or start one on this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray._common.utils import get_ray_address_file
from ray._private.services import find_node_ids

from segsweep.data.dataset import Notify
from segsweep.errors import UserError
from segsweep.sweep.ray_runner.authentication import environment, lets_in, token_file_remark, token_for
from segsweep.sweep.ray_runner.head import attended, detach, without_rays_handlers
from segsweep.sweep.ray_runner.local_ray import ray_on_this_machine
from segsweep.sweep.ray_runner.ownership import is_ours

REACH_SECONDS = 2.0
NOT_A_NODE = "No node info found"  # part of Ray's error on a machine that is not a node of the cluster
DEATH_INFO = {
    "RAY_timeout_ms_task_wait_for_death_info": "60000"
}  # wait until the cause of a death is known; Ray's default does not


@contextmanager
def cluster(notify: Notify) -> Iterator[str]:
    """Within this context, attach to a running Ray cluster, or start one on this machine. Yields its name in words.

    A running cluster is, in this order: the one that this process is connected to, the one that RAY_ADDRESS names, or one that
    this user started on this machine with `ray start`. `notify` receives a line if other users can read the token. Raises
    `UserError` if the cluster cannot be used.
    """
    if ray.is_initialized():
        with attended():
            yield "the connected Ray cluster"
        return
    address = cluster_address()
    if address in (None, "local"):
        with ray_on_this_machine(), attended():
            yield "Ray on this machine"
        return
    with environment(DEATH_INFO), _attached(str(address), notify), attended():
        yield f"the Ray cluster {ray.get_runtime_context().gcs_address}"


@contextmanager
def _attached(address: str, notify: Notify) -> Iterator[None]:
    """Within this context, be a driver of a cluster, with the token that it requires."""
    needed = token_for(address)
    if not find_node_ids():  # type: ignore[no-untyped-call]
        raise UserError(f"Ray cluster {address}: {_outside(address)}")  # Ray itself would wait for 60 s
    if needed and (remark := token_file_remark()) is not None:
        notify(remark)
    with environment(needed):
        try:
            with without_rays_handlers():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises no narrower exception
            ray.shutdown()
            raise UserError(f"Ray cluster {address}: {_reason(error, address)}") from None
        try:
            yield
        finally:
            detach()


def _reason(error: Exception, address: str) -> str:
    """Return the reason why this process cannot use a cluster whose head has answered, and the remedy."""
    if NOT_A_NODE in f"{error} {error.__cause__}":
        return _outside(address)
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return (
        f"cannot be used: {reason}; check that Ray {ray.__version__} runs on all its machines, or start a cluster on this one "
        "with RAY_ADDRESS=local"
    )


def _outside(address: str) -> str:
    return (
        "this machine is not a node of the cluster; submit the study with `ray job submit`, "
        f"or make this machine a node with `ray start --address={address}`"
    )


def cluster_address() -> str | None:
    """Return the address of the cluster that this process would attach to; None or `local` if it would start one here.

    Raises `UserError` if RAY_ADDRESS names a cluster that does not answer.
    """
    if ray.is_initialized():
        address: str = ray.get_runtime_context().gcs_address
        return address
    named = os.environ.get("RAY_ADDRESS")
    if named in (None, "", "auto"):
        return running_here()
    if named != "local" and not answers(str(named)):
        raise UserError(
            f"RAY_ADDRESS={named}: no Ray cluster answers there; set it to HOST:PORT of the head (not ray://), "
            "or to local to start a cluster on this machine"
        )
    return named


def running_here() -> str | None:
    """Return the address of the cluster that this user started on this machine with `ray start`; None if none answers.

    A cluster of another user is ignored, even if its head has taken over the port of this user's dead one. To use it, the user
    sets RAY_ADDRESS.
    """
    note = Path(get_ray_address_file(None))
    try:
        if note.lstat().st_uid != os.getuid():
            return None
        address = note.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return address if answers(address) and is_ours(address) and _is_ray(address) else None


def _is_ray(address: str) -> bool:
    try:
        lets_in(address)
    except UserError:
        return False
    return True


def answers(address: str) -> bool:
    """Return whether a process listens at HOST:PORT. Ray itself would wait forever if none does."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS):
            return True
    except (OSError, ValueError, OverflowError):
        return False
