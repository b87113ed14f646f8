"""Features of labelled pixels: an encoder's feature maps, read at a sample of an image set's pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from segsweep.config.digest import seed_for
from segsweep.config.normalisation import Normalisation
from segsweep.data.dataset import Pixels
from segsweep.models.encoder_levels import feature_maps
from segsweep.training.batches import ImageSet, normalise
from segsweep.training.device import Device

PER_CLASS = 50  # most pixels of one class in one image
MOST_PIXELS = 10_000  # of all images
DIMENSIONS = 64  # principal components that are kept
BATCH = 32  # images
ROWS = 4096  # pixels that are converted to float64 together
NOTHING = 1e-12  # a root mean square below which a feature map is constant zero

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PixelSample:
    """A sample of N labelled pixels of the images of a set.

    `positions`: per image (P,), int64, pixels as row * width + column. `labels_N` and `images_N`: (N,), int64, class and position
    of the image in the set, image by image.
    """

    positions: Sequence[Positions]
    labels_N: Tensor
    images_N: Tensor

    def __len__(self) -> int:
        return len(self.labels_N)


def sample_pixels(image_set: ImageSet) -> PixelSample:
    """Return a random sample of an image set's pixels: of every image equally many of every class that it shows.

    These are 50 pixels, fewer if all images together would give more than 10,000. Ignored pixels are left out. The pixels of an
    image depend only on its number in the dataset, its mask and their count.
    """
    data, members = image_set.data, image_set.members
    shown = int((data.pixels[members, : len(data.classes)] > 0).sum())
    per_class = max(1, min(PER_CLASS, MOST_PIXELS // max(shown, 1)))
    drawn = [_of_image(data.masks[member], len(data.classes), per_class, int(member)) for member in members]
    labels = [torch.from_numpy(labels) for _, labels in drawn]
    images = [torch.full((len(each),), position) for position, each in enumerate(labels)]
    return PixelSample([positions for positions, _ in drawn], torch.cat(labels), torch.cat(images))


def _of_image(mask_HW: Pixels, classes: int, per_class: int, number: int) -> tuple[Positions, Positions]:
    """Return the sampled pixels of an image, and their classes, each (P,), int64."""
    generator = np.random.default_rng(seed_for("pixels of scores", number))
    flat = mask_HW.ravel()
    chosen = [generator.permutation(np.flatnonzero(flat == each))[:per_class] for each in range(classes)]
    positions = np.concatenate(chosen).astype(np.int64)
    return positions, flat[positions].astype(np.int64)


def pixel_features(
    encoder: nn.Module, image_set: ImageSet, sample: PixelSample, normalisation: Normalisation, device: Device
) -> Tensor:
    """Return the principal components of an encoder's features at the sampled pixels: (N, at most 64), float64, centred.

    A pixel's features are those of all feature maps, read where the pixel lies, by bilinear interpolation. Each map is divided by
    its root mean square, so that none dominates. The encoder is on the device already; it is set to eval mode. Raises
    `FloatingPointError` if a feature is not finite.
    """
    parts: list[list[Tensor]] = []
    for maps, number in _maps(encoder.eval(), image_set, normalisation, device):
        if len(sample.positions[number]):
            parts.append(_read(maps, sample.positions[number], image_set.data.masks.shape[-1], device))
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    scaled = [column / column.square().mean().sqrt().clamp_min(NOTHING) for column in columns]
    return principal_components(torch.cat(scaled, dim=1)).cpu()


def _maps(
    encoder: nn.Module, image_set: ImageSet, normalisation: Normalisation, device: Device
) -> Iterator[tuple[list[Tensor], int]]:
    """Yield the feature maps (1, C, h, w) of every image, and its position in the set."""
    batches = np.split(np.arange(len(image_set)), range(BATCH, len(image_set), BATCH))
    with torch.inference_mode():
        for batch, (images, _) in zip(batches, image_set.batches(batches, device), strict=True):
            inputs = normalise(images, normalisation)
            maps = [each for each in feature_maps(encoder(inputs)) if each.shape[1] and each.shape != inputs.shape]
            for place, number in enumerate(batch.tolist()):
                yield [each[place : place + 1].float() for each in maps], number  # smp's first map is the images


def _read(maps: Sequence[Tensor], positions_P: Positions, side_px: int, device: Device) -> list[Tensor]:
    """Return the values (P, C) of each feature map of an image at its pixels."""
    places_P2 = np.stack([positions_P % side_px, positions_P // side_px], axis=1)
    grid = torch.from_numpy((2 * places_P2 + 1) / side_px - 1).float().to(device.torch)[None, None]
    read = (nn.functional.grid_sample(each, grid, padding_mode="border", align_corners=False) for each in maps)
    return [values[0, :, 0].T for values in read]


def principal_components(features_ND: Tensor, most: int = DIMENSIONS) -> Tensor:
    """Return centred features (N, D) in the directions of their largest variance, (N, min(D, most)), float64.

    Raises `FloatingPointError` if a feature is not finite.
    """
    if not features_ND.isfinite().all():
        raise FloatingPointError("the encoder's features of the target's images are not all finite")
    mean_D = features_ND.mean(dim=0, dtype=torch.float64)
    parts = torch.split(features_ND, ROWS)  # in parts, since a float64 copy of all features may not fit the memory
    covariance_DD = sum(((part - mean_D).T @ (part - mean_D) for part in parts), start=torch.zeros_like(mean_D))
    _, vectors_DD = torch.linalg.eigh(covariance_DD)
    kept_DK = vectors_DD[:, -most:].flip(1)
    return torch.cat([(part - mean_D) @ kept_DK for part in parts])
