"""Ratios against the naive way, measured in the same run. They are printed, and never fail:

pytest -m slow tests/benchmarks -s
"""

import time
from collections.abc import Callable
from statistics import median

import pytest
import torch

from segsweep.models.architectures import build_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """Return the median time of several repetitions after a warm-up."""
    work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return median(found)


def report(what: str, naive: float, ours: float) -> None:
    print(f"\n{what}: naive {1000 * naive:.1f} ms, ours {1000 * ours:.1f} ms, ratio {naive / ours:.1f}")
    assert naive > 0
    assert ours > 0


@pytest.mark.parametrize("name", ["unet16", "unet-mobilenet_v2"])
def test_fused_optimiser_steps(name: str) -> None:
    """Measure a fused step of Adam, and the loop over tensors that torch uses on a CPU by default."""
    times = []
    for fused in (False, True):
        model = build_model(name, 2, seed=0)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer = torch.optim.Adam(model.parameters(), fused=fused)
        times.append(seconds(optimizer.step, 20))
    report(f"a step of Adam on {name}", *times)
