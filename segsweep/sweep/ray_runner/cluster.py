"""The Ray cluster: attached to where there is one, started on this machine where there is none."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from segsweep.errors import UserError

OBJECTS_BYTES = 256 * 2**20  # for Ray's object store: arrays go through segsweep's own store
REACH_SECONDS = 2.0


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
