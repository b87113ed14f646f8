"""The execution context: what an executor needs to know of the process that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segsweep.store.protocol import Store
from segsweep.training.device import Device
from segsweep.training.world import World


@dataclass(frozen=True)
class ExecutionContext:
    """The store and the device of one worker process, and the identity of the study's records.

    `max_images` limits the images of every split: a rehearsal goes through every path on a few of them. `world` names the other
    processes that execute the same task on other devices. `user_objects` are those that the study file brings.
    """

    store: Store
    device: Device
    records_id: str = ""
    max_images: int | None = None
    world: World = field(default_factory=World)
    user_objects: Mapping[str, Any] = field(default_factory=dict)
