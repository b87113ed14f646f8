"""The speed of loading images, against the naive way in the same run. It is printed, and never fails:

pytest -m slow tests/benchmarks/test_data_speed.py -s
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
from segsweep.data.image_files import square
from segsweep.data.prepare import DataSpec, prepare
from segsweep.store.folder import FolderStore
from segsweep.training.batches import ImageSet, epoch_batches
from segsweep.training.device import Device

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

IMAGES = 96
IMAGE_PX = 256
BATCH_SIZE = 16


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """Return the median time of several repetitions after a warm-up."""
    work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return median(found)


def photographs(folder: Path, count: int) -> Folder:
    """Write images of 500x375, smooth and grainy like photographs, with masks."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("background\nthing\n")
    for number in range(count):
        smooth = Image.fromarray(rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
        grain = rng.integers(-12, 13, (375, 500, 3))
        Image.fromarray(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)).save(folder / f"images/{number}.jpg")
        blobs = Image.fromarray(rng.integers(0, 2, (6, 8), dtype=np.uint8)).resize((500, 375), Image.Resampling.NEAREST)
        blobs.save(folder / f"masks/{number}.png")
    return Folder(folder, "photographs")


def test_epochs_from_prepared_arrays(tmp_path: Path) -> None:
    """Measure epochs of batches from prepared arrays, and decoding and resizing of every image in every epoch."""
    dataset = photographs(tmp_path / "photographs", IMAGES)
    started = time.perf_counter()
    prepared = prepare(DataSpec(dataset, None, IMAGE_PX), FolderStore(tmp_path / "store"), lambda *_: None)
    preparing = time.perf_counter() - started
    images, examples, device = ImageSet(prepared, np.arange(IMAGES)), dataset.examples(), Device("cpu", 1)
    batches = epoch_batches(IMAGES, BATCH_SIZE, 0, 0)

    def naive() -> None:
        for positions in batches:
            pairs = [square(*dataset.read(examples[at], "all"), IMAGE_PX, "resize") for at in positions.tolist()]
            torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2)
            torch.from_numpy(np.stack([mask for _, mask in pairs])).long()

    decoding, mapped = seconds(naive), seconds(lambda: list(images.batches(batches, device)))
    print(
        f"\n{IMAGES} images of 500x375 at {IMAGE_PX} px, one thread: decoded every epoch {IMAGES / decoding:.0f} images/s, "
        f"from prepared arrays {IMAGES / mapped:.0f} images/s, ratio {decoding / mapped:.1f}; "
        f"preparing took {preparing:.2f} s, {preparing / decoding:.1f} such epochs"
    )
    assert decoding > 0
    assert mapped > 0
