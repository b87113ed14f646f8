"""The time of augmentation per image, against torchvision's transforms image by image in the same run. It never fails:

pytest -m slow tests/benchmarks/test_augment_speed.py -s
"""

import time
from collections.abc import Callable
from statistics import median

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segsweep.training.augment import AUGMENTATIONS, augment, draw
from segsweep.training.simclr import VIEWS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BATCH_SIZE, IMAGE_PX = 16, 256
TORCHVISION: dict[str, v2.Transform] = {
    "flip": v2.RandomHorizontalFlip(),
    "crop_flip_jitter": v2.Compose(
        [
            v2.RandomResizedCrop(IMAGE_PX, scale=(0.25, 1.0), ratio=(1.0, 1.0)),
            v2.ColorJitter(0.5, 0.5, 0.5, 0.05),
            v2.RandomHorizontalFlip(),
        ]
    ),
    "rotate_flip_jitter_blur": v2.Compose(
        [
            v2.RandomRotation(90, v2.InterpolationMode.BILINEAR),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter((0.0, 2.0), (0.0, 2.0), (0.0, 2.0), 0.1),
            v2.GaussianBlur(3, (0.1, 2.0)),
        ]
    ),
    "simclr": v2.Compose(
        [
            v2.RandomResizedCrop(IMAGE_PX, scale=(0.08, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(27, (0.1, 2.0))], 0.5),
        ]
    ),
}
OURS = {**AUGMENTATIONS, "simclr": VIEWS}


def seconds(work: Callable[[], object], device: torch.device, times: int = 5) -> float:
    """Return the median time of several repetitions after a warm-up."""
    found = []
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return median(found[1:])


@pytest.mark.parametrize("name", TORCHVISION)
def test_augmentation_of_a_batch(name: str) -> None:
    """Measure the augmentation of a batch at once, and torchvision's transforms called for each image."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chance = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (BATCH_SIZE, 3, IMAGE_PX, IMAGE_PX), generator=chance).to(torch.uint8).to(device)
    masks = torch.randint(0, 2, (BATCH_SIZE, IMAGE_PX, IMAGE_PX), generator=chance).to(device)
    augmentation, transform = OURS[name], TORCHVISION[name]

    def naive() -> None:
        for image, mask in zip(images, masks, strict=True):
            transform(tv_tensors.Image(image), tv_tensors.Mask(mask))

    def ours() -> None:
        augment(augmentation, images, masks, draw(augmentation, BATCH_SIZE, chance))

    one_by_one, batched = (1000 * seconds(work, device) / BATCH_SIZE for work in (naive, ours))
    print(
        f"\n{name} at {IMAGE_PX} px on {device}, {torch.get_num_threads()} threads: one by one {one_by_one:.2f} ms an image, "
        f"as a batch {batched:.2f} ms, ratio {one_by_one / batched:.2f}"
    )
    assert one_by_one > 0
    assert batched > 0
