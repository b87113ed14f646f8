"""Ray on this machine, started by segsweep: reachable from this machine alone, and by its user alone."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import ray
from ray._private import ray_constants
from ray._private.node import Node

from segsweep.errors import UserError
from segsweep.sweep.ray_runner.authentication import environment, tls_credentials, token_for_start
from segsweep.sweep.ray_runner.head import detach, without_rays_handlers
from segsweep.sweep.ray_runner.ray_folder import OBJECTS_BYTES, ray_folder, short_temporary_folder, usable_folder

LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # off: a machine's address is 127.0.0.1, on which alone Ray listens then
    "GLOO_SOCKET_IFNAME": "lo",  # for several processes that train one model
    "NCCL_SOCKET_IFNAME": "lo",
}
GCS_PORT = ray_constants.GCS_PORT_ENVIRONMENT_VARIABLE
BUSY = "timed out during startup"


@contextmanager
def ray_on_this_machine() -> Iterator[None]:
    """Start Ray on this machine for as long as it is used. Raises `UserError` where it does not start, on the second try."""
    tls_credentials()  # without which Ray's head dies, and Ray waits for it for 60 s
    folder = ray_folder()
    loopback = {name: value for name, value in LOOPBACK.items() if name not in os.environ}
    with environment({**token_for_start(), **loopback, **short_temporary_folder()}):
        _start(folder)
        try:
            yield
        finally:
            detach()


def check_start() -> None:
    """Raise `UserError` for what would keep Ray from starting here, as far as it is seen without writing anything."""
    usable_folder()
    token_for_start()
    tls_credentials()


def _start(folder: Path) -> None:
    try:
        _init(folder)
    except Exception as error:  # Ray raises plain ones
        _end_half_started(error)
        if not _worth_another_try(error):
            raise UserError(_line(error, folder)) from None
        try:
            _init(folder)
        except Exception as again:
            _end_half_started(again)
            raise UserError(_line(again, folder)) from None


def _init(folder: Path) -> None:
    with _loopback_alone(), without_rays_handlers():
        ray.init(
            address="local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECTS_BYTES,
            _temp_dir=str(folder),
        )


@contextmanager
def _loopback_alone() -> Iterator[None]:
    """Have this process, which has imported Ray already, obey what `LOOPBACK` says to those that Ray starts."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _worth_another_try(error: Exception) -> bool:
    """Return whether a part of Ray did not answer in time, and not what the user has set is wrong."""
    return isinstance(error, ConnectionError) or not isinstance(error, OSError | ValueError)


def _end_half_started(error: Exception) -> None:
    """End the processes of a start that failed, which Ray leaves running, and forgets where `Node` itself has raised."""
    ray.shutdown()
    for frame, _ in walk_tb(error.__traceback__):
        node = frame.f_locals.get("self")
        if isinstance(node, Node):
            node.kill_all_processes(check_alive=False, allow_graceful=False)


def _line(error: Exception, folder: Path) -> str:
    reason, remedy = next(iter(str(error).strip().splitlines()), type(error).__name__), "free what it lacks"
    if BUSY in reason:
        reason, remedy = "did not answer within 30 s, in two tries", "wait until this machine has cores and memory free"
    elif port := os.environ.get(GCS_PORT):
        reason, remedy = f"its head did not start, and port {port} may be taken", f"unset {GCS_PORT}"
    logs = folder / "session_latest" / "logs"
    return f"Ray on this machine: {reason}; {remedy}, or work without Ray: --runner inline. Its logs: {logs}"
