"""A card that others have filled: the driver refuses memory, and the batch is cut as it is under a limit of torch's own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpu.place import Place
from gpu.right.memory import runs_with_too_little
from gpu.rows import Row


@contextmanager
def reserved(place: Place, left_bytes: float) -> Iterator[None]:
    """Allocate all free memory of the card except this many bytes."""
    place.release()
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(max(0, int(free - left_bytes)), dtype=torch.uint8, device=place.device.torch)
    try:
        yield
    finally:
        del held
        place.release()


def a_full_card(place: Place) -> Iterator[Row]:
    """Whole runs on a card that leaves them too little: they end, and their results record how the batch was cut."""
    yield from runs_with_too_little(place, reserved)


CHECKS = (a_full_card,)
