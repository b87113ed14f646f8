"""Features of sampled pixels: which pixels are sampled, and which values are read where."""

import numpy as np
import pytest
import torch
from torch import nn

from segsweep.config.normalisation import Normalisation
from segsweep.data.dataset import IGNORE
from segsweep.data.prepared import Prepared
from segsweep.training import pixel_features as module
from segsweep.training.batches import ImageSet
from segsweep.training.device import Device
from segsweep.training.pixel_features import pixel_features, principal_components, sample_pixels

SIDE = 8
AS_IS = Normalisation((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # inputs are the pixel values


def image_set(masks: np.ndarray, images: np.ndarray | None = None) -> ImageSet:
    """Return images with masks (N, 8, 8) of the classes 0..2."""
    if images is None:
        images = np.random.default_rng(1).integers(0, 256, (*masks.shape, 3)).astype(np.uint8)
    pixels = np.stack([np.bincount(mask.ravel(), minlength=256)[[0, 1, 2, IGNORE]] for mask in masks])
    names = [str(number) for number in range(len(masks))]
    moments, same = np.zeros((len(masks), 2, 3)), [""] * len(masks)
    data = Prepared("d", images, masks, ("a", "b", "c"), (), names, same, same, moments, pixels)
    return ImageSet(data, np.arange(len(masks)))


def random_masks(count: int = 3) -> np.ndarray:
    """Return masks with the classes 0..2 and ignored pixels."""
    masks = np.random.default_rng(0).integers(0, 4, (count, SIDE, SIDE)).astype(np.uint8)
    return np.where(masks == 3, IGNORE, masks)


def test_pixels_are_drawn_per_class_and_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image gives equally many pixels of every class that it shows, none twice and none ignored."""
    monkeypatch.setattr(module, "PER_CLASS", 5)
    masks = random_masks()
    masks[1][masks[1] == 2] = 1
    sample = sample_pixels(image_set(masks))
    for number, expected in enumerate(([5, 5, 5], [5, 5], [5, 5, 5])):
        of_image = sample.images_N == number
        assert sample.labels_N[of_image].unique(return_counts=True)[1].tolist() == expected
        assert sample.labels_N[of_image].tolist() == masks[number].ravel()[sample.positions[number]].tolist()
        assert len(set(sample.positions[number].tolist())) == sum(expected)


def test_a_large_set_gives_fewer_pixels_of_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """All images together give at most `MOST_PIXELS`, and the pixels of an image do not depend on the other images."""
    monkeypatch.setattr(module, "MOST_PIXELS", 60)
    masks = random_masks(4)
    sample = sample_pixels(image_set(masks))
    assert len(sample) == 60
    alone = sample_pixels(ImageSet(image_set(masks).data, np.array([2])))
    assert alone.positions[0][:5].tolist() == sample.positions[2][:5].tolist()


class TwoMaps(nn.Module):
    """An encoder whose maps are its input, twice its input, and its input at half the resolution."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the images, and two maps."""
        return [images, torch.cat([2 * images, images], 1), nn.functional.avg_pool2d(images, 2)[:, :1]]


def test_features_are_those_of_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pixel's features are the maps' values at its place, bilinear, each map divided by its root mean square."""
    monkeypatch.setattr(module, "principal_components", lambda features: features)
    chosen = image_set(random_masks())
    sample = sample_pixels(chosen)
    found = pixel_features(TwoMaps(), chosen, sample, AS_IS, Device("cpu", 1)).numpy()
    chosen_pixels = zip(chosen.data.images, sample.positions, strict=True)
    values = np.concatenate([image.reshape(-1, 3)[places] for image, places in chosen_pixels]).astype(float)
    halves = chosen.data.images[..., 0].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    places = zip(sample.images_N.tolist(), np.concatenate(sample.positions).tolist(), strict=True)
    half = np.array([[bilinear(halves[number], place // SIDE, place % SIDE)] for number, place in places])
    fine = np.concatenate([2 * values, values], axis=1)
    expected = np.concatenate([each / np.sqrt(np.square(each).mean()) for each in (fine, half)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def bilinear(half: np.ndarray, row: int, column: int) -> float:
    """Return the value of a map of half the resolution at the centre of a pixel; its border continues outside."""
    value = 0.0
    for i, height in enumerate(half):
        for j, each in enumerate(height):
            y, x = (np.clip((place + 0.5) / 2 - 0.5, 0, len(half) - 1) for place in (row, column))
            value += each * max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x - j))
    return value


def test_principal_components_keep_the_largest_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The components have the largest eigenvalues of the covariance, in descending order; non-finite features are an error."""
    monkeypatch.setattr(module, "ROWS", 7)
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 6)) * [1, 5, 2, 9, 3, 4] + 7)
    found = principal_components(features, most=4)
    expected = np.linalg.eigvalsh(np.cov(features.numpy().T, bias=True))[::-1][:4]
    np.testing.assert_allclose(np.cov(found.numpy().T, bias=True), np.diag(expected), atol=1e-9)
    with pytest.raises(FloatingPointError, match="not all finite"):
        principal_components(torch.full((3, 2), torch.nan))
