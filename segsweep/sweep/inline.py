"""The inline runner: runs all tasks in this process, in sequence. For debugging, small studies and machines without Ray."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from segsweep.context import ExecutionContext
from segsweep.errors import OutageError, UserError
from segsweep.store.protocol import Store
from segsweep.sweep.driver import Driver
from segsweep.sweep.execute import execute
from segsweep.sweep.options import Options, flag
from segsweep.sweep.progress import View
from segsweep.sweep.signals import BY_USER
from segsweep.sweep.speeds import Measure
from segsweep.training.device import Device, choose_device, resolve_precision
from segsweep.training.speed import measure_speed

POLL_SECONDS = 0.5  # interval between checks whether another run has built a stage, or an outage is over


@dataclass(frozen=True)
class InlineRunner:
    """Runs tasks in this process, on one device. `auto_precision` is what `auto` means; None asks the device."""

    device: Device
    workers: int
    label: str
    measure: Measure = measure_speed
    auto_precision: str | None = None

    def resolve(self, precision: str) -> str:
        """Return `float32` or `bfloat16`."""
        if precision == "auto" and self.auto_precision is not None:
            return self.auto_precision
        return resolve_precision(precision, self.device)

    def run(self, driver: Driver, context: ExecutionContext) -> None:
        """Run all tasks of the driver.

        On a request to end, and on an outage that exceeds its time limit, the running task is recorded as interrupted and the
        exception is raised again.
        """
        while not driver.planner.done:
            if (assignment := driver.next_task()) is None:
                time.sleep(POLL_SECONDS)
                continue
            task, messages = assignment.task, execute(assignment, context)
            driver.begin(task)
            try:
                for message in messages:
                    if not driver.handle(task, message):
                        break
            except KeyboardInterrupt as request:
                driver.interrupt(task, str(request) or BY_USER)
                raise
            except OutageError as error:
                driver.interrupt(task, str(error))
                raise
            finally:
                messages.close()


@contextmanager
def open_inline(
    options: Options,
    at_most: int,  # noqa: ARG001  # there is one worker
    store: Store,  # noqa: ARG001
    view: View,  # noqa: ARG001
) -> Iterator[InlineRunner]:
    """Yield the inline runner. Raises `UserError` for options that need Ray, and for a device that does not exist."""
    for name in ("gpus_per_trial", "max_concurrent", "workers_per_stage", "workers_per_trial"):
        if (value := getattr(options, name)) not in (None, 1):
            raise UserError(f"{flag(name)} {value:g}: the inline runner has one worker; use --runner ray")
    device = choose_device(options.device, options.threads, options.deterministic)
    if device.deterministic:
        device.set_up()  # must precede the start of CUDA, which a query of the precision causes
    yield InlineRunner(device, 1, device.label)
