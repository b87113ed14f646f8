"""The Ray cluster: attached to where there is one, started on this machine where there is none."""

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
NOT_A_NODE = "No node info found"  # in what Ray says on a machine where none of the cluster's raylets runs
DEATH_INFO = {"RAY_timeout_ms_task_wait_for_death_info": "60000"}  # by itself Ray does not wait to learn that a machine is dead


@contextmanager
def cluster(notify: Notify) -> Iterator[str]:
    """Attach to the Ray cluster at hand, or start one on this machine for as long as it is used. Yields its name.

    At hand is one that this process is connected to already, the one that RAY_ADDRESS names, and one that this user started
    on this machine with `ray start`. `notify` gets a line where others can read the token. Raises `UserError` where a cluster
    cannot be used.
    """
    if ray.is_initialized():
        with attended():
            yield "the Ray cluster at hand"
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
    """Be a driver of a cluster, with the token that it asks for."""
    needed = token_for(address)
    if not find_node_ids():  # type: ignore[no-untyped-call]
        raise UserError(f"Ray cluster {address}: {_outside(address)}")  # for which Ray waits for 60 s
    if needed and (remark := token_file_remark()) is not None:
        notify(remark)
    with environment(needed):
        try:
            with without_rays_handlers():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises plain ones
            ray.shutdown()
            raise UserError(f"Ray cluster {address}: {_reason(error, address)}") from None
        try:
            yield
        finally:
            detach()


def _reason(error: Exception, address: str) -> str:
    """Return what keeps this process from a cluster whose head has answered, and what to do."""
    if NOT_A_NODE in f"{error} {error.__cause__}":
        return _outside(address)
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return (
        f"cannot be used: {reason}; is Ray {ray.__version__} up on all its machines? RAY_ADDRESS=local starts one on this machine"
    )


def _outside(address: str) -> str:
    return (
        "this machine is none of its nodes; submit the study there with `ray job submit`, "
        f"or make it one with `ray start --address={address}`"
    )


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
    """Return the address of the cluster that this user's `ray start` left on this machine, None where none answers.

    One that another user started is not this user's cluster, also where its head has the port of this user's dead one:
    RAY_ADDRESS names it where it is meant.
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
    """Return whether something listens at HOST:PORT. Ray itself would wait for ever where nothing does."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS):
            return True
    except (OSError, ValueError, OverflowError):
        return False
