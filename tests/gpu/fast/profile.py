"""Profiles of training and evaluation, for the network that was furthest from the arithmetic floor in earlier runs."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from gpu.drawn import draw
from gpu.part_context import PartContext
from gpu.rows import Row, note
from gpu.runs import Run, recipe_of
from segsweep.training.batches import ImageSet
from segsweep.training.checkpoint import TrainingState, save_checkpoint
from segsweep.training.evaluate import evaluate
from segsweep.training.losses import make_objective

NETWORK = "deeplabv3plus-mobilenet_v2"
BATCH = 16
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


@dataclass(frozen=True)
class Counts:
    """Counts of a profile: calls of the driver, and milliseconds of the device."""

    launches: int
    waits: int
    busy_ms: float
    copy_ms: float
    copied: str


def training(part_context: PartContext) -> Iterator[Row]:
    """Yield launches, gaps, copies and waits of training steps, with a validation of two images at the end of each stretch."""
    name = part_context.size(NETWORK, "unet16")
    batch, steps = part_context.size(BATCH, 4), part_context.size(10, 2)
    image_set = _image_set(part_context)
    sets = [ImageSet(image_set.data, np.resize(image_set.members, steps * batch)), image_set.first(2)]
    recipe = recipe_of(None, 3 * steps, 3, batch_size=batch, precision=_precision(part_context))
    run = Run(name, sets, recipe, part_context.device, part_context.folder / "unused.safetensors")
    with patch("segsweep.training.loop.save_checkpoint"), patch.object(TrainingState, "keep"):
        running = run.stream()
        next(running)
        rate = next(running).images_per_second
        counts = _profile(part_context, f"training {name}", partial(next, running))
    yield from _rows(f"{name}, training step", counts, steps, 1000 * batch / rate)


def evaluation(part_context: PartContext) -> Iterator[Row]:
    """Yield launches, gaps, copies and waits of evaluation, for validation and for the test."""
    name = part_context.size(NETWORK, "unet16")
    batch = part_context.size(BATCH, 4)
    image_set, model = _image_set(part_context).first(2 * batch), _model(part_context, name)
    classes = image_set.data.classes
    values: dict[str, Any] = {"batch_size": batch, "precision": _precision(part_context), "device": part_context.device}
    values["loss"] = make_objective("cross_entropy", classes)
    more = {loss: make_objective(loss, classes) for loss in ("dice", "focal", "bce")}
    for what, extra in (("validation", {}), ("test", {"more_losses": more, "boundary": True})):
        work = partial(evaluate, model, image_set, **values, **extra)
        work()
        wall_ms = 1000 * _seconds(part_context, work)
        steps = len(image_set) // batch
        yield from _rows(f"{name}, {what}", _profile(part_context, f"{what} {name}", work), steps, wall_ms / steps)


def checkpoints(part_context: PartContext) -> Iterator[Row]:
    """Yield seconds and size of a checkpoint, and seconds of keeping weights, beside an epoch of 2,200 images at 256 px."""
    for name, policy in part_context.size((("unet-resnet50", "none"), ("fcn-resnet50", "encoder")), (("unet16", "none"),)):
        batch = part_context.size(BATCH, 4)
        image_set = _image_set(part_context)
        sets = [ImageSet(image_set.data, np.resize(image_set.members, 12 * batch)), image_set.first(batch)]
        recipe = recipe_of(2, batch_size=batch, precision=_precision(part_context))
        run = Run(name, sets, recipe, part_context.device, part_context.folder / f"{name}.safetensors", policy)
        rate = run.go()[-1].images_per_second
        state = run.state
        assert state is not None
        keeping = median(_seconds(part_context, state.keep) for _ in range(3))
        writing = median(_seconds(part_context, partial(save_checkpoint, state, run.checkpoint)) for _ in range(3))
        label = f"{name}, freeze {policy}"
        yield note(f"{label}: checkpoint", run.checkpoint.stat().st_size / 1e6, "MB")
        yield note(f"{label}: writing it / keeping the best", f"{writing:.2f} / {keeping:.2f}", "s")
        epoch = 2200 / rate
        yield note(
            f"! {label}: share of checkpoints in an epoch of 2,200 images", (writing + keeping) / (epoch + writing + keeping)
        )


def _seconds(part_context: PartContext, work: Callable[[], object]) -> float:
    part_context.device.wait()
    start = time.perf_counter()
    work()
    part_context.device.wait()
    return time.perf_counter() - start


def _precision(part_context: PartContext) -> str:
    return "bfloat16" if part_context.device.cuda else "float32"


@cache
def _image_set(part_context: PartContext) -> ImageSet:
    return draw(part_context.size(96, 16), part_context.size(256, 32), ignored=True)


def _model(part_context: PartContext, name: str) -> Any:
    from segsweep.models.architectures import build_model

    return build_model(name, 2, seed=0).to(part_context.device.torch, memory_format=torch.channels_last)


def _profile(part_context: PartContext, title: str, work: Callable[[], object]) -> Counts:
    """Return the counts of a profile of some work; its table is appended to `profile.txt`."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if part_context.device.cuda else [])]
    with profile(activities=activities) as profiler:
        work()
        part_context.device.wait()
    sort = "self_device_time_total" if part_context.device.cuda else "self_cpu_time_total"
    averages = profiler.key_averages()
    with (part_context.out / "profile.txt").open("a", encoding="utf-8") as file:
        file.write(f"===== {title}\n{averages.table(sort_by=sort, row_limit=25, max_name_column_width=60)}\n")
    kernels = [each for each in averages if each.device_type == DeviceType.CUDA and not each.is_user_annotation]
    copies = [each for each in kernels if each.key.startswith(("Memcpy", "Memset"))]
    return Counts(
        launches=sum(each.count for each in averages if each.key in LAUNCHES),
        waits=sum(each.count for each in averages if each.key in WAITS),
        busy_ms=sum(each.self_device_time_total for each in kernels) / 1000,
        copy_ms=sum(each.self_device_time_total for each in copies) / 1000,
        copied="; ".join(f"{each.key} x{each.count}" for each in copies),
    )


def _rows(label: str, counts: Counts, steps: int, wall_ms: float) -> Iterator[Row]:
    """Yield the counts per step of a profile of several steps; `wall_ms` is the time of a step without the profiler."""
    yield note(f"{label}: launches a step", counts.launches / steps)
    yield note(f"{label}: waits a step", counts.waits / steps)
    yield note(f"{label}: device busy / wall a step", f"{counts.busy_ms / steps:.2f} / {wall_ms:.2f}", "ms")
    yield note(f"{label}: copies in {steps} steps, {counts.copy_ms / steps:.3g} ms a step", counts.copied)


CHECKS = (checkpoints, training, evaluation)
