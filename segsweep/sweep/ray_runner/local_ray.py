"""A Ray cluster on this machine, started by segsweep. Only this user can reach it, and only from this machine."""

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
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # off: Ray uses 127.0.0.1 as the machine's address and listens only there
    "GLOO_SOCKET_IFNAME": "lo",  # for several processes that train one model
    "NCCL_SOCKET_IFNAME": "lo",
}
GCS_PORT = ray_constants.GCS_PORT_ENVIRONMENT_VARIABLE
BUSY = "timed out during startup"


@contextmanager
def ray_on_this_machine() -> Iterator[None]:
    """Within this context, run Ray on this machine. Raises `UserError` if it does not start in two attempts."""
    tls_credentials()  # checked first: with unusable certificates Ray's head dies, and Ray waits for it for 60 s
    folder = ray_folder()
    loopback = {name: value for name, value in LOOPBACK.items() if name not in os.environ}
    with environment({**token_for_start(), **loopback, **short_temporary_folder()}):
        _start(folder)
        try:
            yield
        finally:
            detach()


def check_start() -> None:
    """Raise `UserError` for problems that would prevent Ray from starting here. Writes nothing."""
    usable_folder()
    token_for_start()
    tls_credentials()


def _start(folder: Path) -> None:
    try:
        _init(folder)
    except Exception as error:  # Ray raises no narrower exception
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
    """Within this context, apply the first setting of `LOOPBACK` to this process, which has already imported Ray."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _worth_another_try(error: Exception) -> bool:
    """Return whether Ray did not answer in time, as opposed to a mistake in the user's settings."""
    return isinstance(error, ConnectionError) or not isinstance(error, OSError | ValueError)


def _end_half_started(error: Exception) -> None:
    """End the processes of a failed start. Ray leaves them running, and loses track of them if `Node` itself raised."""
    ray.shutdown()
    for frame, _ in walk_tb(error.__traceback__):
        node = frame.f_locals.get("self")
        if isinstance(node, Node):
            node.kill_all_processes(check_alive=False, allow_graceful=False)


def _line(error: Exception, folder: Path) -> str:
    reason, remedy = next(iter(str(error).strip().splitlines()), type(error).__name__), "free the missing resource"
    if BUSY in reason:
        reason, remedy = "did not answer within 30 s, in two attempts", "wait until this machine has free cores and memory"
    elif port := os.environ.get(GCS_PORT):
        reason, remedy = f"its head did not start; port {port} may be in use", f"unset {GCS_PORT}"
    logs = folder / "session_latest" / "logs"
    return f"Ray on this machine: {reason}; {remedy}, or run without Ray: --runner inline. Logs of Ray: {logs}"
