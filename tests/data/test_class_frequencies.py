import numpy as np
import pytest

from segsweep.data.dataset import IGNORE
from segsweep.data.prepared import Prepared, pixel_counts
from segsweep.training.losses import median_frequency_weights

CLASSES = ("sky", "road", "car", "pole", "ship")
SIDE = 6


def prepared(masks: np.ndarray) -> Prepared:
    """Return a prepared dataset with these masks (N, H, W)."""
    count = len(masks)
    return Prepared(
        dataset="drawn",
        images=np.zeros((count, SIDE, SIDE, 3), np.uint8),
        masks=masks,
        classes=CLASSES,
        pool=("all",),
        names=[str(number) for number in range(count)],
        splits=["all"] * count,
        strata=["0"] * count,
        moments=np.zeros((count, 2, 3)),
        pixels=np.stack([pixel_counts(mask, len(CLASSES)) for mask in masks]),
    )


def drawn_masks(seed: int) -> np.ndarray:
    """Return eight masks, each of two of the first four classes with a fifth of ignored pixels; none shows the fifth class."""
    chance = np.random.default_rng(seed)
    masks = np.stack([chance.choice(chance.choice(4, 2, replace=False), (SIDE, SIDE), p=(0.8, 0.2)) for _ in range(8)])
    masks[chance.random(masks.shape) < 0.2] = IGNORE
    return masks.astype(np.uint8)


def by_loops(masks: np.ndarray) -> list[float]:
    """Return the frequency of each class by Eigen and Fergus 2015, pixel by pixel, without ignored pixels."""
    frequencies = []
    for number in range(len(CLASSES)):
        of_class = of_images = 0
        for mask in masks:
            pixels = [value for row in mask.tolist() for value in row if value != IGNORE]
            if number in pixels:
                of_class += sum(value == number for value in pixels)
                of_images += len(pixels)
        frequencies.append(of_class / of_images if of_images else 0.0)
    return frequencies


@pytest.mark.parametrize("seed", range(3))
def test_frequencies_count_the_images_that_show_the_class(seed):
    """Each frequency is over the valid pixels of the images that show the class, as loops over all pixels compute it."""
    masks, members = drawn_masks(seed), np.array([0, 2, 3, 5, 7])
    assert prepared(masks).class_frequencies(members) == pytest.approx(by_loops(masks[members]), rel=1e-12)


def test_a_class_that_fills_few_images_is_not_rare():
    """A class that fills half of the only image that shows it has the same weight as classes that fill half of many."""
    masks = np.zeros((4, SIDE, SIDE), np.uint8)
    masks[:, :, 3:] = 1
    masks[0, :, 3:] = 2
    masks[3] = IGNORE
    data = prepared(masks)
    assert data.class_frequencies(np.arange(4)).tolist() == [0.5, 0.5, 0.5, 0.0, 0.0]
    assert median_frequency_weights(data.class_frequencies(np.arange(4))) == (1.0, 1.0, 1.0, 0.0, 0.0)
    assert median_frequency_weights(data.class_frequencies(np.array([3]))) == (0.0,) * 5
