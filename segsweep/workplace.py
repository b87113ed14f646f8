"""Where work is done: what a stage or a trial needs to know of the process that runs it."""

from dataclasses import dataclass

from segsweep.store.folder import Store
from segsweep.training.device import Device


@dataclass(frozen=True)
class Workplace:
    """The store and the device of one worker.

    `max_pictures` limits the pictures of every split: a rehearsal goes through every path on a few of them.
    """

    store: Store
    device: Device
    max_pictures: int | None = None
