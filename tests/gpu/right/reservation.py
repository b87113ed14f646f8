"""A card that other processes have filled: the driver refuses memory, and the batch is split as under torch's limit."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpu.part_context import PartContext
from gpu.right.memory import runs_with_too_little
from gpu.rows import Row


@contextmanager
def reserved(part_context: PartContext, left_bytes: float) -> Iterator[None]:
    """Allocate all free memory of the card except this many bytes."""
    part_context.release()
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(max(0, int(free - left_bytes)), dtype=torch.uint8, device=part_context.device.torch)
    try:
        yield
    finally:
        del held
        part_context.release()


def a_full_card(part_context: PartContext) -> Iterator[Row]:
    """Yield whether whole runs on a card with too little free memory end, and their results record the micro-batch."""
    yield from runs_with_too_little(part_context, reserved)


CHECKS = (a_full_card,)
