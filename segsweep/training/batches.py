"""Batches: their order, and the images of a prepared dataset on their way to the device."""

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
    """Some images of a prepared dataset, by their numbers in it: the `BatchSource` whose inputs are the images."""

    data: Prepared
    members: Indices
    augmentable: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.members)

    def first(self, count: int | None) -> "ImageSet":
        """Return a set of the first `count` images; of all for None."""
        return ImageSet(self.data, self.members[:count])

    def without_masks(self) -> "ImageSet":
        """Return the same images, whose masks are not read."""
        return ImageSet(replace(self.data, masks=np.empty((len(self.data.images), 0, 0), dtype=np.uint8)), self.members)

    def spread(self, most: int) -> "ImageSet":
        """Return a set of `most` images at equal distances in this one; of all where there are fewer."""
        if len(self) <= most:
            return self
        return ImageSet(self.data, self.members[np.linspace(0, len(self) - 1, most).astype(int)])

    @property
    def strata(self) -> list[str]:
        """What each image shows, as its dataset says."""
        return [self.data.strata[int(member)] for member in self.members]

    def batches(self, positions: Iterable[Indices], device: Device) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 3, H, W), uint8 and channels last, and masks (B, H, W), int64, on the device.

        On a GPU the next batch is read while the current one is computed.
        """
        if not device.cuda:
            yield from (_to_device(*self._read(few), device) for few in positions)
            return
        with ThreadPoolExecutor(max_workers=1) as reader:
            waiting = None
            for few in positions:
                coming = reader.submit(self._read, few)
                if waiting is not None:
                    yield _to_device(*waiting.result(), device)
                waiting = coming
            if waiting is not None:
                yield _to_device(*waiting.result(), device)

    def model_inputs(self, inputs: Tensor, normalisation: Normalisation) -> Tensor:
        """Return images, uint8, as normalised floats."""
        return normalise(inputs, normalisation)

    def _read(self, positions: Indices) -> tuple[Tensor, Tensor]:
        rows = self.members[positions]
        return torch.from_numpy(self.data.images[rows]), torch.from_numpy(self.data.masks[rows])


def epoch_batches(count: int, batch_size: int, seed: int, epoch: int, least: int = 2) -> list[Indices]:
    """Return one epoch's batches as positions 0..count-1, in an order fixed by seed and epoch.

    A last batch of fewer than `least` images joins the one before it: batch normalisation cannot train on one image,
    and several processes need one each.
    """
    order = np.random.default_rng(seed_for("order", seed, epoch)).permutation(count)
    batches = np.split(order, range(batch_size, count, batch_size))
    if len(batches) > 1 and len(batches[-1]) < least:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def step_batches(
    count: int, batch_size: int, seed: int, first: int, last: int, steps_per_epoch: int, least: int = 2
) -> Iterator[Indices]:
    """Yield the batches of optimiser steps first..last-1 in an endless sequence of epochs; `least` as of `epoch_batches`."""
    for epoch in itertools.count(first // steps_per_epoch):
        batches = epoch_batches(count, batch_size, seed, epoch, least)
        yield from batches[max(0, first - epoch * steps_per_epoch) : max(0, last - epoch * steps_per_epoch)]
        if last <= (epoch + 1) * steps_per_epoch:
            return


def _to_device(images_BHWC: Tensor, masks_BHW: Tensor, device: Device) -> tuple[Tensor, Tensor]:
    if device.cuda:
        images_BHWC, masks_BHW = (part.pin_memory() if part.numel() else part for part in (images_BHWC, masks_BHW))
    images = images_BHWC.to(device.torch, non_blocking=True).permute(0, 3, 1, 2)  # a view: already channels last
    return images, masks_BHW.to(device.torch, non_blocking=True).long()


def normalise(images_BCHW: Tensor, normalisation: Normalisation = IMAGENET) -> Tensor:
    """Return uint8 images as float32 with a mean and a standard deviation taken out."""
    mean = torch.tensor(normalisation.mean, device=images_BCHW.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(normalisation.std, device=images_BCHW.device).view(1, 3, 1, 1) * 255
    return (images_BCHW.float() - mean) / std


def normalisation_of(name: str, image_set: ImageSet, source: Normalisation = IMAGENET) -> Normalisation:
    """Return what a setting means: `source` for that of the weights from which training starts (ImageNet's for random ones),
    `imagenet`, or `own` for the mean and standard deviation of these training images.
    """
    if name == "source":
        return source
    if name == "imagenet":
        return IMAGENET
    assert name == "own", name
    return Normalisation(*image_set.data.mean_std(image_set.members))
