"""Fifty trials in sequence by the inline runner: memory use stays constant."""

import gc
import time
from collections.abc import Generator, Iterator
from typing import Any
from unittest.mock import patch

import psutil
import torch

from gpu.part_context import PartContext
from gpu.rows import Row, at_least, at_most, equal, note

MIB = 2**20
WARM = 4  # trials after which every architecture has run


def memory_between_trials(part_context: PartContext) -> Iterator[Row]:
    """Yield the memory that torch has allocated and reserved on the card, and that of the process, after each trial."""
    from segsweep import LogUniform, Study, Target
    from segsweep.sweep import inline
    from segsweep.sweep.run import run

    points = part_context.size(11, 1)
    study = Study(
        name="many",
        target=Target("generated_pets", protocol="70-10-20"),
        compare={"architecture": ["unet16", "unet-mobilenet_v2"], "freeze": ["none", "encoder"]},
        tune={"learning_rate": LogUniform(1e-4, 1e-2)},
        fixed={
            "image_px": 64 if not part_context.tiny else 32,
            "epochs": 1,
            "batch_size": 8,
            "fraction": 0.1,
            "source": "random",
        },
        trials_per_cell=points,
        seeds=part_context.size(2, 1),
    )
    seen, times = list[tuple[float, float, float]](), list[float]()
    execute = inline.execute

    def watched(*values: Any) -> Generator[Any, None, None]:
        seen.append(_memory(part_context))
        times.append(time.perf_counter())
        yield from execute(*values)

    with patch.object(inline, "execute", watched):
        records = run(
            study,
            out=part_context.folder / "runs",
            runner="inline",
            device=part_context.device.name,
            threads=part_context.device.threads,
        )
    finished = int((records.trials["status"] == "finished").sum())
    yield equal("trials finished", finished, 4 * (points + part_context.size(2, 1)))
    yield at_least("trials", finished, part_context.size(50, 4))
    allocated, reserved, resident = zip(*seen, strict=True)
    yield at_most(
        "allocated on the card, last less that after 4 trials", allocated[-1] - allocated[min(WARM, len(seen) - 1)], 1, "MiB"
    )
    yield at_most("allocated on the card, most between trials", max(allocated), 64, "MiB")
    yield note(
        "reserved on the card between trials, first / most / last",
        f"{reserved[0]:.0f} / {max(reserved):.0f} / {reserved[-1]:.0f}",
        "MiB",
    )
    quarter = len(resident) // 4  # trials of one cell: a new architecture loads kernels, which stay
    yield at_most("memory of the process, growth over the last quarter", resident[-1] - resident[-quarter], 100, "MiB")
    yield note("memory of the process, first / last", f"{resident[0]:.0f} / {resident[-1]:.0f}", "MiB")
    yield note("! seconds a trial, about", (times[-1] - times[0]) / max(1, len(times) - 1), "s")


def _memory(part_context: PartContext) -> tuple[float, float, float]:
    gc.collect()
    resident = psutil.Process().memory_info().rss / MIB
    if not part_context.device.cuda:
        return 0.0, 0.0, resident
    return torch.cuda.memory_allocated() / MIB, torch.cuda.memory_reserved() / MIB, resident


CHECKS = (memory_between_trials,)
