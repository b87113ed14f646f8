"""CUDA graphs on one network and `torch.compile` on a small one: the speed-up, and the cost of compiling."""

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from gpu.drawn import draw
from gpu.fast.timing import seconds_each
from gpu.part_context import PartContext
from gpu.rows import Row, note
from segsweep.models.architectures import build_model

NETWORK = "deeplabv3plus-mobilenet_v2"
SMALL = "unet16"  # compiling the other network takes more than a minute


def eager(part_context: PartContext) -> Iterator[Row]:
    """The step with which the others are compared."""
    for name in part_context.size((NETWORK, SMALL), (SMALL,)):
        yield from _measure(part_context, name, "eager", lambda model, _: model)


def graphed(part_context: PartContext) -> Iterator[Row]:
    """Record the whole forward and backward pass as CUDA graphs."""
    if not part_context.device.cuda:
        return

    def record(model: nn.Module, inputs: Tensor) -> Callable[..., Any]:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            return torch.cuda.make_graphed_callables(model, (inputs.clone(),))

    yield from _measure(part_context, NETWORK, "CUDA graphs", record)


def compiled(part_context: PartContext) -> Iterator[Row]:
    """Use `torch.compile` with its defaults."""
    backend = "inductor" if part_context.device.cuda else "eager"
    yield from _measure(part_context, SMALL, "torch.compile", lambda model, _: torch.compile(model, backend=backend))


def compiled_with_graphs(part_context: PartContext) -> Iterator[Row]:
    """Use `torch.compile` with CUDA graphs."""
    if part_context.device.cuda:
        change = lambda model, _: torch.compile(model, mode="reduce-overhead")  # noqa: E731
        yield from _measure(part_context, SMALL, "torch.compile, reduce-overhead", change)


def _measure(
    part_context: PartContext, name: str, what: str, change: Callable[[nn.Module, Tensor], Callable[..., Any]]
) -> Iterator[Row]:
    """Yield the rate of a training step with a changed model, and the time of the change and of the first step."""
    device, batch = part_context.device, part_context.size(16, 4)
    image_set = draw(batch, part_context.size(256, 32), ignored=True)
    model = build_model(name, 2, seed=0).to(device.torch, memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    images = torch.from_numpy(image_set.data.images).to(device.torch).permute(0, 3, 1, 2).float().div(255)
    masks = torch.from_numpy(image_set.data.masks).to(device.torch).long()
    start = time.perf_counter()
    changed = change(model, images)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)  # kept gradients would be in the graph's memory, which the next step overwrites
        torch.compiler.cudagraph_mark_step_begin()  # the outputs of the last step may be overwritten
        with torch.autocast(device.torch.type, torch.bfloat16, enabled=device.cuda, cache_enabled=False):
            logits = changed(images)
        torch.nn.functional.cross_entropy(logits.float(), masks, ignore_index=255).backward()
        optimizer.step()

    step()
    device.wait()
    yield note(f"{name}, batch {batch}, {what}: first step", time.perf_counter() - start, "s")
    rate = batch / median(seconds_each(step, device, part_context.size(20, 2), warm=part_context.size(5, 1)))
    yield note(f"! {name}, batch {batch}, {what}", rate, "images/s")


CHECKS = (eager, graphed, compiled, compiled_with_graphs)
