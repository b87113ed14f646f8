from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from segsweep.data.dataset import IGNORE
from segsweep.data.prepared import Prepared, image_moments, pixel_counts
from segsweep.data.splits import Indices
from segsweep.training.batches import ImageSet
from segsweep.training.device import Device
from segsweep.training.recipe import Length, Recipe


@pytest.fixture
def cpu() -> Device:
    return Device("cpu", 1)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Make torch use deterministic algorithms; an operation without one warns."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    torch.backends.cudnn.benchmark = benchmark


def draw(count: int, image_px: int, classes: int, ignored: bool) -> Prepared:
    """Return noisy images in which brightness determines the class of each quarter; with `ignored`, unequal parts are ignored."""
    rng = np.random.default_rng(0)
    masks = rng.integers(classes, size=(count, 2, 2)).repeat(image_px // 2, 1).repeat(image_px // 2, 2).astype(np.uint8)
    noise = rng.integers(0, 60, size=(count, image_px, image_px, 3))
    images = (masks[..., None] * (180 // (classes - 1)) + noise).astype(np.uint8)
    if ignored:
        for position in range(count):
            masks[position, : position % image_px] = IGNORE
    names = [f"image {position}" for position in range(count)]
    labels = [f"class {label}" for label in range(classes)]
    moments = np.stack([image_moments(image) for image in images])
    pixels = np.stack([pixel_counts(mask, classes) for mask in masks])
    return Prepared("drawn", images, masks, labels, ["train"], names, ["train"] * count, ["one"] * count, moments, pixels)


@pytest.fixture
def image_set() -> Callable[..., ImageSet]:
    def make(count: int = 6, image_px: int = 16, classes: int = 2, ignored: bool = False) -> ImageSet:
        return ImageSet(draw(count, image_px, classes, ignored), np.arange(count))

    return make


@dataclass
class Recorded:
    """A batch source that reads a set of images and records the positions of every batch."""

    images: ImageSet
    seen: list[Indices] = field(default_factory=list)

    def batches(self, positions: Iterable[Indices], device: Device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        positions = list(positions)
        self.seen += positions
        return self.images.batches(positions, device)

    def __len__(self) -> int:
        return len(self.images)

    def __getattr__(self, name: str):
        return getattr(self.images, name)


@pytest.fixture
def recorded() -> type[Recorded]:
    return Recorded


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    def make(epochs: int | None = 3, steps: int | None = None, validations: int | None = None, **values) -> Recipe:
        standard = {
            "learning_rate": 1e-3,
            "batch_size": 4,
            "loss": "cross_entropy",
            "optimizer": "adam",
            "weight_decay": 0.0,
            "augmentation": "flip",
            "precision": "float32",
        }
        return Recipe(length=Length(None if steps else epochs, steps, validations), **{**standard, **values})

    return make
