"""Where work is done: what a stage or a trial needs to know of the process that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segsweep.store.folder import Store
from segsweep.training.device import Device
from segsweep.training.world import World


@dataclass(frozen=True)
class ExecutionContext:
    """The store and the device of one worker process, and the identity of the records for which it works.

    `max_pictures` limits the pictures of every split: a rehearsal goes through every path on a few of them. `world` says
    which other processes do the same piece of work on other devices. `own` are the objects that the study file brought.
    """

    store: Store
    device: Device
    records_id: str = ""
    max_pictures: int | None = None
    world: World = field(default_factory=World)
    own: Mapping[str, Any] = field(default_factory=dict)
