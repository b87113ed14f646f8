"""Several trials on one card at the same time: images per second of one, two and four processes."""

import itertools
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Barrier, Queue, get_context
from typing import Any
from unittest.mock import patch

import torch

from gpu.drawn import draw_sets
from gpu.part_context import PartContext
from gpu.processes import answers
from gpu.rows import Row, holds, note
from gpu.runs import Run, recipe_of

NETWORK = "deeplabv3plus-mobilenet_v2"
WAIT_SECONDS = 75


@dataclass(frozen=True)
class Stretch:
    """The work of one process while `count` processes trained: its images, and its start and end by the machine's clock."""

    count: int
    images: int
    start: float
    end: float


def processes(part_context: PartContext) -> Iterator[Row]:
    """Train the same trial in one, two and four processes at once.

    All processes start and warm up together, which costs most of the time; then the first trains alone, then the first two, then
    all.
    """
    counts = part_context.size((1, 2, 4), (1, 2))
    found = _together(part_context, counts)
    failed = {rank: outcome for rank, outcome in enumerate(found) if isinstance(outcome, str)}
    for rank, text in failed.items():
        yield holds(f"process {rank}", False, text[-400:])
    if failed:
        return
    stretches = [stretch for trained, _ in found for stretch in trained]
    rates = {count: _rate([each for each in stretches if each.count == count]) for count in counts}
    for count, rate in rates.items():
        mark = "! " if count > 1 else ""
        yield note(
            f"{mark}{_network(part_context)}, batch {part_context.size(16, 4)}: {count} trials on the card", rate, "images/s"
        )
        yield note(f"{count} trials relative to one", rate / rates[1])
    yield note("most memory of one process", max(peak for _, peak in found) / 2**30, "GiB")


def _rate(stretches: list[Stretch]) -> float:
    seconds = max(each.end for each in stretches) - min(each.start for each in stretches)
    return sum(each.images for each in stretches) / seconds


def _together(part_context: PartContext, counts: tuple[int, ...]) -> list[Any]:
    """Return the stretches and the peak memory of every process, or its traceback."""
    context = get_context("spawn")
    queue, barrier = context.Queue(), context.Barrier(max(counts))
    workers = [context.Process(target=_work, args=(rank, part_context, counts, queue, barrier)) for rank in range(max(counts))]
    return answers(workers, queue, WAIT_SECONDS)


def _work(rank: int, part_context: PartContext, counts: tuple[int, ...], queue: Queue, barrier: Barrier) -> None:
    try:
        queue.put((rank, _trial(rank, part_context, counts, barrier)))
    except Exception:
        barrier.abort()
        queue.put((rank, traceback.format_exc()))


def _trial(rank: int, part_context: PartContext, counts: tuple[int, ...], barrier: Barrier) -> tuple[list[Stretch], int]:
    """Warm up in a first stretch, then train one stretch per count of processes that includes this one; wait in the others."""
    part_context.device.set_up()
    batch, steps = part_context.size(16, 4), part_context.size(60, 2)
    sets = draw_sets(part_context.size(128, 8), batch, part_context.size(256, 32))
    precision = "bfloat16" if part_context.device.cuda else "float32"
    stretches = 1 + len(counts)
    recipe = recipe_of(None, stretches * steps, stretches, batch_size=batch, precision=precision)
    run = Run(_network(part_context), sets, recipe, part_context.device, part_context.folder / f"trial-{rank}.safetensors")
    trained = []
    with patch("segsweep.training.loop.save_checkpoint"):
        running = run.stream()
        next(running)
        for count in counts:
            barrier.wait(timeout=WAIT_SECONDS)
            start = time.time()
            for _ in itertools.islice(running, int(rank < count)):
                trained.append(Stretch(count, steps * batch, start, time.time()))
    return trained, torch.cuda.max_memory_reserved() if part_context.device.cuda else 0


def _network(part_context: PartContext) -> str:
    return part_context.size(NETWORK, "unet16")


CHECKS = (processes,)
