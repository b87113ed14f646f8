"""What the driver does about Ray itself: its handlers of signals, what it prints, and the death of the head."""

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
REFUSED_SECONDS, SILENT_SECONDS = 3.0, 20.0  # until a process, or a machine, counts as gone; a cut cable may heal


@contextmanager
def without_rays_handlers() -> Iterator[None]:
    """Keep Ray 2.60 from handling signals in this process: in Python it would exit with 15, in C++ abort with a stack trace."""
    before = utils.set_sigterm_handler, constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER
    utils.set_sigterm_handler, constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = lambda _: None, True
    try:
        yield
    finally:
        utils.set_sigterm_handler, constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = before


@contextmanager
def attended() -> Iterator[None]:
    """While this process is attached to Ray: print none of Ray's reports, and ask for the end where the cluster has gone.

    Ray 2.60 prints the log of each raylet that dies to stdout, twice, and has no switch for it. It notices the death of the head
    after 60 s, and then ends the process; without the raylet of this machine, every worker that it starts dies.
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
    """Leave the cluster: now, or after the last line of a command that ends.

    From one that has gone nothing is left, and the attempt may hang: a command does without, another process gives it some time.
    """
    request = interruption()
    if not request.detail:
        request.after_last_line(ray.shutdown)
    elif not request.ends_process:
        leaving = threading.Thread(target=ray.shutdown, name="detach", daemon=True)
        leaving.start()
        leaving.join(DETACH_SECONDS)


def _addresses() -> dict[str, str]:
    """Return the addresses without which this process can do nothing on its cluster, by what listens there."""
    context = ray.get_runtime_context()
    head, here = context.gcs_address, context.get_node_id()
    own = [node for node in ray.nodes() if node["NodeID"] == here]  # type: ignore[no-untyped-call]
    return {head: "the Ray head"} | {
        f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}": "Ray on this machine" for node in own
    }


def _watch(addresses: Mapping[str, str], request: Interruption, over: threading.Event) -> None:
    """Look at addresses every second until it is over, or one of them has not answered for long."""
    lines = [Line(address) for address in addresses]
    while not over.wait(PROBE_SECONDS):
        for line in lines:
            if line.is_gone():
                request.request(f"{addresses[line.address]} has gone ({line.address})")
                if not over.wait(PROBE_SECONDS):
                    request.insist()  # Tune's loop may hang in a call of Ray's
                return


@dataclass
class Line:
    """Whether something still listens at HOST:PORT."""

    address: str
    _answered: float = field(default_factory=time.monotonic)

    def is_gone(self) -> bool:
        """Return whether nothing has answered for long: a refusal needs less patience than silence."""
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
