"""The execution context: information for an executor about the process that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segsweep.config.shorter_run import ShorterRun
from segsweep.store.protocol import Store
from segsweep.training.device import Device
from segsweep.training.world import World


@dataclass(frozen=True)
class ExecutionContext:
    """Store, device and options of the worker process that executes a task.

    Attributes:
        store: Store of artifacts and checkpoints.
        device: Device to compute on.
        records_id: Identity of the study's records.
        max_images: Limit on the number of images of every split, for a rehearsal; None for no limit.
        world: Processes that execute the same task together on several devices.
        user_objects: Objects that the study file passes, by their texts.
        shorter_runs: Lengths of finished runs that longer trials of the study can continue.
    """

    store: Store
    device: Device
    records_id: str = ""
    max_images: int | None = None
    world: World = field(default_factory=World)
    user_objects: Mapping[str, Any] = field(default_factory=dict)
    shorter_runs: tuple[ShorterRun, ...] = ()
