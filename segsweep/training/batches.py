"""Batches: their order, their images and masks on the device, and input normalisation."""

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from segsweep.config.digest import seed_for
from segsweep.config.normalisation import IMAGENET, Normalisation
from segsweep.data.prepared import Prepared
from segsweep.data.splits import Indices
from segsweep.training.device import Device


@dataclass(frozen=True)
class ImageSet:
    """N images of a prepared dataset: the `BatchSource` whose inputs are images.

    `members` (N,), int64, are the numbers of the images in `data`.
    """

    data: Prepared
    members: Indices
    augmentable: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.members)

    def first(self, count: int | None) -> "ImageSet":
        """Return a set of the first `count` images; of all images for None."""
        return ImageSet(self.data, self.members[:count])

    def without_masks(self) -> "ImageSet":
        """Return a set of the same images with empty masks (0, 0), so that no mask is read."""
        return ImageSet(replace(self.data, masks=np.empty((len(self.data.images), 0, 0), dtype=np.uint8)), self.members)

    def spread(self, most: int) -> "ImageSet":
        """Return a set of at most `most` images, evenly spaced over this one."""
        if len(self) <= most:
            return self
        return ImageSet(self.data, self.members[np.linspace(0, len(self) - 1, most).astype(int)])

    @property
    def strata(self) -> list[str]:
        """The stratum of each image: the label by which its dataset stratifies subsets."""
        return [self.data.strata[int(member)] for member in self.members]

    def batches(self, positions: Iterable[Indices], device: Device) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 3, H, W), uint8, channels last, and masks (B, H, W), int64, on the device.

        `positions` holds one array (B,) of positions 0..N-1 per batch. For a GPU, a thread reads the next batch while the current
        one is computed.
        """
        if not device.cuda:
            yield from (_to_device(*self._read(batch), device) for batch in positions)
            return
        with ThreadPoolExecutor(max_workers=1) as reader:
            current = None
            for batch in positions:
                following = reader.submit(self._read, batch)
                if current is not None:
                    yield _to_device(*current.result(), device)
                current = following
            if current is not None:
                yield _to_device(*current.result(), device)

    def model_inputs(self, inputs: Tensor, normalisation: Normalisation) -> Tensor:
        """Return images (B, 3, H, W), uint8, as normalised float32 of the same shape."""
        return normalise(inputs, normalisation)

    def _read(self, positions: Indices) -> tuple[Tensor, Tensor]:
        rows = self.members[positions]
        return torch.from_numpy(self.data.images[rows]), torch.from_numpy(self.data.masks[rows])


def epoch_batches(count: int, batch_size: int, seed: int, epoch: int, least: int = 2) -> list[Indices]:
    """Return one epoch's batches, each an array (B,) of positions 0..count-1, in an order fixed by seed and epoch.

    A last batch of fewer than `least` images is merged into the one before it: batch normalisation cannot train on one image,
    and each of several processes needs at least one.
    """
    order = np.random.default_rng(seed_for("order", seed, epoch)).permutation(count)
    batches = np.split(order, range(batch_size, count, batch_size))
    if len(batches) > 1 and len(batches[-1]) < least:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def step_batches(
    count: int, batch_size: int, seed: int, first: int, last: int, steps_per_epoch: int, least: int = 2
) -> Iterator[Indices]:
    """Yield the batches, arrays (B,) of positions, of optimiser steps first..last-1 in an endless sequence of epochs.

    Each epoch is one of `epoch_batches`, with its `least`.
    """
    for epoch in itertools.count(first // steps_per_epoch):
        batches = epoch_batches(count, batch_size, seed, epoch, least)
        yield from batches[max(0, first - epoch * steps_per_epoch) : max(0, last - epoch * steps_per_epoch)]
        if last <= (epoch + 1) * steps_per_epoch:
            return


def _to_device(images_BHWC: Tensor, masks_BHW: Tensor, device: Device) -> tuple[Tensor, Tensor]:
    if device.cuda:
        images_BHWC, masks_BHW = (part.pin_memory() if part.numel() else part for part in (images_BHWC, masks_BHW))
    images = images_BHWC.to(device.torch, non_blocking=True).permute(0, 3, 1, 2)  # a view, already in channels-last format
    return images, masks_BHW.to(device.torch, non_blocking=True).long()


def normalise(images_BCHW: Tensor, normalisation: Normalisation = IMAGENET) -> Tensor:
    """Return images (B, 3, H, W), uint8, as float32 of the same shape: (value / 255 - mean) / std, per channel."""
    mean = torch.tensor(normalisation.mean, device=images_BCHW.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(normalisation.std, device=images_BCHW.device).view(1, 3, 1, 1) * 255
    return (images_BCHW.float() - mean) / std


def normalisation_of(name: str, image_set: ImageSet, source: Normalisation = IMAGENET) -> Normalisation:
    """Return the normalisation of a setting.

    `source`: that of the weights from which training starts (ImageNet's for random weights). `imagenet`: ImageNet's. `own`: the
    mean and standard deviation of these training images.
    """
    if name == "source":
        return source
    if name == "imagenet":
        return IMAGENET
    assert name == "own", name
    return Normalisation(*image_set.data.mean_std(image_set.members))
