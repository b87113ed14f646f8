"""Batches: images of a prepared data set on their way to the device."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

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
    """Some images of a prepared data set, by their numbers."""

    data: Prepared
    members: Indices

    def __len__(self) -> int:
        return len(self.members)

    def first(self, count: int | None) -> "ImageSet":
        """Return the first images alone; all of them for None."""
        return ImageSet(self.data, self.members[:count])

    def without_masks(self) -> "ImageSet":
        """Return the same images, whose masks are not read."""
        return ImageSet(replace(self.data, masks=np.empty((len(self.data.images), 0, 0), dtype=np.uint8)), self.members)

    def spread(self, most: int) -> "ImageSet":
        """Return so many images from all over the set; all of them where there are fewer."""
        if len(self) <= most:
            return self
        return ImageSet(self.data, self.members[np.linspace(0, len(self) - 1, most).astype(int)])

    @property
    def strata(self) -> list[str]:
        """What each image shows, as its data set says."""
        return [self.data.strata[int(member)] for member in self.members]


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


def load_batches(image_set: ImageSet, batches: Iterable[Indices], device: Device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images (B, 3, H, W), uint8 and channels last, and masks (B, H, W), int64, on the device.

    On a GPU the next batch is read while the current one is computed.
    """
    if not device.cuda:
        yield from (_to_device(*_read(image_set, positions), device) for positions in batches)
        return
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = None
        for positions in batches:
            coming = reader.submit(_read, image_set, positions)
            if waiting is not None:
                yield _to_device(*waiting.result(), device)
            waiting = coming
        if waiting is not None:
            yield _to_device(*waiting.result(), device)


def _read(image_set: ImageSet, positions: Indices) -> tuple[Tensor, Tensor]:
    rows = image_set.members[positions]
    return torch.from_numpy(image_set.data.images[rows]), torch.from_numpy(image_set.data.masks[rows])


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
