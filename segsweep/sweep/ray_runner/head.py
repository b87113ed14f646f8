"""Protection of the driver from Ray: its signal handlers, its output, and the death of the head."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from socket import create_connection

import ray
import ray._private.ray_constants as constants
import ray._private.utils as utils
import ray._private.worker as driver

from segsweep.sweep.signals import Interruption, interruption

PROBE_SECONDS = 1.0
DETACH_SECONDS = 10.0
REFUSED_SECONDS, SILENT_SECONDS = 3.0, 20.0  # until a process, or a machine, counts as gone; a network failure may be short


@contextmanager
def without_rays_handlers() -> Iterator[None]:
    """Within this context, prevent Ray 2.60 from installing signal handlers in this process.

    Its Python handler would exit with 15, its C++ handler abort with a stack trace.
    """
    before = utils.set_sigterm_handler, constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER
    utils.set_sigterm_handler, constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = lambda _: None, True
    try:
        yield
    finally:
        utils.set_sigterm_handler, constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = before


@contextmanager
def attended() -> Iterator[None]:
    """Within this context, in which this process is attached to Ray, silence Ray's output and request the end if Ray is gone.

    Ray 2.60 prints the log of each raylet that dies to stdout, twice, and has no option to prevent it. It detects the death of
    the head only after 60 s, and then ends the process; without the raylet of this machine, every worker that it starts dies.
    """
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=[_addresses(), interruption(), over], name="head", daemon=True)
    before, driver._worker_logs_enabled = driver._worker_logs_enabled, False
    watch.start()
    try:
        yield
    finally:
        driver._worker_logs_enabled = before
        over.set()


def detach() -> None:
    """Disconnect from the cluster: at once, or after the last line of a command that is ending.

    If the cluster has gone, disconnecting may hang: a command omits it, any other process waits up to `DETACH_SECONDS`.
    """
    request = interruption()
    if not request.detail:
        request.after_last_line(ray.shutdown)
    elif not request.ends_process:
        leaving = threading.Thread(target=ray.shutdown, name="detach", daemon=True)
        leaving.start()
        leaving.join(DETACH_SECONDS)


def _addresses() -> dict[str, str]:
    """Return the addresses that this process depends on (the head and the local raylet), each with its name in words."""
    context = ray.get_runtime_context()
    head, here = context.gcs_address, context.get_node_id()
    own = [node for node in ray.nodes() if node["NodeID"] == here]  # type: ignore[no-untyped-call]
    return {head: "the Ray head"} | {
        f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}": "Ray on this machine" for node in own
    }


def _watch(addresses: Mapping[str, str], request: Interruption, over: threading.Event) -> None:
    """Probe the addresses every second until `over` is set; request the end if one has not answered for too long."""
    lines = [Line(address) for address in addresses]
    while not over.wait(PROBE_SECONDS):
        for line in lines:
            if line.is_gone():
                request.request(f"{addresses[line.address]} has gone ({line.address})")
                if not over.wait(PROBE_SECONDS):
                    request.insist()  # Tune's loop may hang in a call to Ray
                return


@dataclass
class Line:
    """A probe of HOST:PORT that remembers when it last answered."""

    address: str
    _answered: float = field(default_factory=time.monotonic)

    def is_gone(self) -> bool:
        """Return whether the address has not answered for too long; the limit is shorter if it refuses the connection."""
        host, _, port = self.address.rpartition(":")
        patience = SILENT_SECONDS
        try:
            with create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS):
                self._answered = time.monotonic()
        except ConnectionRefusedError:
            patience = REFUSED_SECONDS
        except OSError:
            pass
        return time.monotonic() - self._answered > patience
