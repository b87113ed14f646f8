"""`torch.compile` and CUDA graphs on one network: the gain, and what compiling costs."""

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from gpu.drawn import draw
from gpu.fast.timing import seconds_each
from gpu.place import Place
from gpu.rows import Row, note
from segsweep.models.architectures import build_model

NETWORK = "deeplabv3plus-mobilenet_v2"


def eager(place: Place) -> Iterator[Row]:
    """The step that the others are compared with."""
    for batch in _batches(place):
        yield from _measure(place, "eager", batch, lambda model, _: model)


def graphed(place: Place) -> Iterator[Row]:
    """The whole forward and backward pass recorded as CUDA graphs."""
    if not place.device.cuda:
        return

    def record(model: nn.Module, inputs: Tensor) -> Callable[..., Any]:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            return torch.cuda.make_graphed_callables(model, (inputs.clone(),))

    for batch in _batches(place):
        yield from _measure(place, "CUDA graphs", batch, record)


def compiled(place: Place) -> Iterator[Row]:
    """`torch.compile` as it is by default."""
    backend = "inductor" if place.device.cuda else "eager"
    yield from _measure(place, "torch.compile", _batches(place)[0], lambda model, _: torch.compile(model, backend=backend))


def compiled_with_graphs(place: Place) -> Iterator[Row]:
    """`torch.compile` with CUDA graphs."""
    if place.device.cuda:
        change = lambda model, _: torch.compile(model, mode="reduce-overhead")  # noqa: E731
        yield from _measure(place, "torch.compile, reduce-overhead", _batches(place)[0], change)


def _batches(place: Place) -> tuple[int, ...]:
    return place.size((16, 64), (4,))


def _measure(place: Place, what: str, batch: int, change: Callable[[nn.Module, Tensor], Callable[..., Any]]) -> Iterator[Row]:
    """Yield the rate of a training step whose model was changed, and how long the change and the first step took."""
    device = place.device
    name = NETWORK if not place.tiny else "unet16"
    pictures = draw(batch, place.size(256, 32), ignored=True)
    model = build_model(name, 2, seed=0).to(device.torch, memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    images = torch.from_numpy(pictures.data.images).to(device.torch).permute(0, 3, 1, 2).float().div(255)
    masks = torch.from_numpy(pictures.data.masks).to(device.torch).long()
    start = time.perf_counter()
    changed = change(model, images)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        with torch.autocast(device.torch.type, torch.bfloat16, enabled=device.cuda, cache_enabled=False):
            logits = changed(images)
        torch.nn.functional.cross_entropy(logits.float(), masks, ignore_index=255).backward()
        optimizer.step()

    step()
    device.wait()
    yield note(f"{name}, batch {batch}, {what}: first step", time.perf_counter() - start, "s")
    rate = batch / median(seconds_each(step, device, place.size(30, 2), warm=place.size(5, 1)))
    yield note(f"! {name}, batch {batch}, {what}", rate, "images/s")


CHECKS = (eager, graphed, compiled, compiled_with_graphs)
