"""Several trials on one card at once: images per second of one, two and four processes."""

import time
import traceback
from collections.abc import Iterator
from multiprocessing import Barrier, Queue, get_context
from typing import Any
from unittest.mock import patch

import torch

from gpu.drawn import draw_sets
from gpu.place import Place
from gpu.rows import Row, holds, note
from gpu.runs import Run, recipe_of

NETWORK = "deeplabv3plus-mobilenet_v2"
WAIT_SECONDS = 60


def processes(place: Place) -> Iterator[Row]:
    """Train the same trial in one, two and four processes that start together."""
    alone = 0.0
    for count in place.size((1, 2, 4), (1, 2)):
        found = _together(place, count)
        for rank, outcome in enumerate(found):
            if isinstance(outcome, str):
                yield holds(f"{count} processes: process {rank}", False, outcome[-400:])
                return
        images = sum(float(outcome[0]) for outcome in found)
        start, end = min(outcome[1] for outcome in found), max(outcome[2] for outcome in found)
        rate = images / (end - start)
        alone = alone or rate
        mark = "! " if count > 1 else ""
        yield note(f"{mark}{NETWORK}, batch {place.size(16, 4)}: {count} trials on the card", rate, "images/s")
        yield note(f"{count} trials relative to one", rate / alone)
        yield note(f"{count} trials: most memory of one", max(outcome[3] for outcome in found) / 2**30, "GiB")


def _together(place: Place, count: int) -> list[Any]:
    """Return from every process its images, start, end and peak memory, or its traceback."""
    context = get_context("spawn")
    queue, barrier = context.Queue(), context.Barrier(count)
    workers = [context.Process(target=_work, args=(rank, place, queue, barrier)) for rank in range(count)]
    for worker in workers:
        worker.start()
    try:
        found = dict(queue.get(timeout=WAIT_SECONDS) for _ in workers)
    finally:
        for worker in workers:
            worker.join(timeout=5)
            worker.kill()
    return [found[rank] for rank in range(count)]


def _work(rank: int, place: Place, queue: Queue, barrier: Barrier) -> None:
    try:
        queue.put((rank, _trial(rank, place, barrier)))
    except Exception:
        queue.put((rank, traceback.format_exc()))


def _trial(rank: int, place: Place, barrier: Barrier) -> tuple[int, float, float, int]:
    """Train in three stretches; the first warms up, the others are timed from when all are warm."""
    place.device.set_up()
    batch, steps = place.size(16, 4), place.size(60, 2)
    sets = draw_sets(place.size(128, 8), batch, place.size(256, 32))
    precision = "bfloat16" if place.device.cuda else "float32"
    recipe = recipe_of(None, 3 * steps, 3, batch_size=batch, precision=precision)
    run = Run(NETWORK if not place.tiny else "unet16", sets, recipe, place.device, place.folder / f"trial-{rank}.safetensors")
    with patch("segsweep.training.loop.save_checkpoint"):
        running = run.stream()
        next(running)
        barrier.wait(timeout=WAIT_SECONDS)
        start = time.time()
        last = list(running)[-1]
        end = time.time()
    peak = torch.cuda.max_memory_reserved() if place.device.cuda else 0
    return (last.steps - steps) * batch, start, end, peak


CHECKS = (processes,)
