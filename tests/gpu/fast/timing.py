"""Clocks around work on a device."""

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch

from segsweep.training.device import Device


def seconds_each(work: Callable[[], object], device: Device, times: int, warm: int = 3) -> list[float]:
    """Return the seconds of each repetition after a warm-up, by events of the device on a GPU.

    Repetitions are queued without waiting in between, as in training.
    """
    for _ in range(warm):
        work()
    device.wait()
    if not device.cuda:
        found = []
        for _ in range(times):
            start = time.perf_counter()
            work()
            found.append(time.perf_counter() - start)
        return found
    events = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
    events[0].record()
    for event in events[1:]:
        work()
        event.record()
    device.wait()
    return [start.elapsed_time(end) / 1000 for start, end in pairwise(events)]


def spread(values: list[float]) -> float:
    """Return half the distance between the quartiles, relative to the median."""
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    return (high - low) / 2 / median(ordered)


def matmul_rate(device: Device, size: int, times: int = 10) -> float:
    """Return the floating-point operations per second of a square matrix product in bfloat16."""
    chance = torch.Generator(device.torch).manual_seed(0)
    one, other = (torch.randn(size, size, device=device.torch, generator=chance).bfloat16() for _ in range(2))
    return 2 * size**3 / median(seconds_each(lambda: one @ other, device, times))


def copy_rate(device: Device, count_bytes: int, times: int = 10) -> float:
    """Return the bytes per second of reading and writing memory of the device."""
    one = torch.randint(256, (count_bytes,), dtype=torch.uint8, device=device.torch)
    other = torch.empty_like(one)
    return 2 * count_bytes / median(seconds_each(lambda: other.copy_(one), device, times))
