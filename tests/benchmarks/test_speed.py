"""Ratios against the naive way, measured in the same run. They are printed, and fail nothing:

pytest -m slow tests/benchmarks -s
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from PIL import Image

from segsweep.data.folder import Folder
from segsweep.data.picture import square
from segsweep.data.prepare import Request, prepare
from segsweep.models.architectures import build_model
from segsweep.store.folder import Store
from segsweep.training.batches import PictureSet, epoch_batches, load_batches
from segsweep.training.device import Device

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """Return the median time of some repetitions, after one to warm up."""
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


def test_epochs_from_prepared_arrays(tmp_path: Path) -> None:
    """An epoch of batches from the prepared arrays, beside decoding and resizing the pictures again."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    (tmp_path / "classes.txt").write_text("a\nb\n")
    for number in range(100):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).resize((500, 400)).save(
            tmp_path / f"images/{number}.jpg"
        )
        Image.fromarray(rng.integers(0, 2, (40, 50), dtype=np.uint8)).resize((500, 400)).save(tmp_path / f"masks/{number}.png")
    dataset = Folder(tmp_path, "pictures")
    prepared = prepare(Request(dataset, None, 96), Store(tmp_path / "store"), lambda *_: None)
    pictures = PictureSet(prepared, np.arange(100))
    examples = dataset.examples()
    report(
        "an epoch of 100 pictures of 500x400 at 96 px",
        seconds(lambda: [square(*dataset.read(example, "all"), 96, "resize") for example in examples]),
        seconds(lambda: list(load_batches(pictures, epoch_batches(100, 16, 0, 0), Device("cpu", 1)))),
    )


@pytest.mark.parametrize("name", ["unet16", "unet-mobilenet_v2"])
def test_fused_optimiser_steps(name: str) -> None:
    """A fused step of Adam, beside the loop over tensors that torch takes on a CPU by default."""
    times = []
    for fused in (False, True):
        model = build_model(name, 2, seed=0)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer = torch.optim.Adam(model.parameters(), fused=fused)
        times.append(seconds(optimizer.step, 20))
    report(f"a step of Adam on {name}", *times)
