"""Generated images that a network can learn: brightness determines the class of each quarter."""

from dataclasses import replace

import numpy as np

from segsweep.data.dataset import IGNORE
from segsweep.data.prepared import Prepared, image_moments, pixel_counts
from segsweep.training.batches import ImageSet


def draw(count: int, image_px: int, classes: int = 2, ignored: bool = False, seed: int = 0) -> ImageSet:
    """Return `count` noisy images with masks; with `ignored`, parts of unequal size are ignored in each mask."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(classes, size=(count, 2, 2)).repeat(image_px // 2, 1).repeat(image_px // 2, 2).astype(np.uint8)
    noise = rng.integers(0, 60, size=(count, image_px, image_px, 3), dtype=np.uint8)
    images = masks[..., None] * np.uint8(180 // (classes - 1)) + noise
    if ignored:
        for position in range(count):
            masks[position, : position % image_px] = IGNORE
    data = Prepared(
        dataset="drawn",
        images=images,
        masks=masks,
        classes=[f"class {number}" for number in range(classes)],
        pool=["train"],
        names=[f"image {number}" for number in range(count)],
        splits=["train"] * count,
        strata=[f"stratum {number % 3}" for number in range(count)],
        moments=np.stack([image_moments(image) for image in images]),
        pixels=np.stack([pixel_counts(mask, classes) for mask in masks]),
    )
    return ImageSet(data, np.arange(count))


def draw_patches(count: int, image_px: int, seed: int = 0) -> ImageSet:
    """Return unlabelled images that all differ: coloured patches with noise."""
    labelled = draw(count, image_px, seed=seed)
    rng, side = np.random.default_rng(seed), image_px // 8
    patches = rng.integers(196, size=(count, 8, 8, 3), dtype=np.uint8).repeat(side, axis=1).repeat(side, axis=2)
    images = patches + rng.integers(60, size=patches.shape, dtype=np.uint8)
    moments = np.stack([image_moments(image) for image in images])
    return ImageSet(replace(labelled.data, images=images, moments=moments), labelled.members).without_masks()


def draw_sets(train_count: int, val_count: int, image_px: int, classes: int = 2, ignored: bool = False) -> list[ImageSet]:
    """Return a training and a validation set of the same kind of images."""
    whole = draw(train_count + val_count, image_px, classes, ignored)
    return [ImageSet(whole.data, part) for part in np.split(whole.members, [train_count])]
