"""A prepared dataset: memory-mapped arrays and what is known of every picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from segsweep.config.class_name import foreground_number
from segsweep.data.dataset import IGNORE, Dataset, Division, Example, Pixels
from segsweep.data.identity import DIGEST_BYTES, DIGESTS, OF_PIXELS
from segsweep.store.contents import DATA_INDEX_FILE, IDENTITY_FILE, IMAGES_FILE, MASKS_FILE, MOMENTS_FILE, PIXELS_FILE, SHOWN_FILE

Moments = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Frequencies = npt.NDArray[np.float64]
Channels = tuple[float, float, float]
LISTED = ("classes", "pool", "names", "splits", "strata", "groups")  # of the index


class OriginalMasks(Protocol):
    """The masks of a prepared dataset at their own sizes; see `segsweep.data.originals`."""

    def mask(self, number: int) -> Pixels:
        """Return the class numbers (H, W) of an image, by its number in the dataset."""


@dataclass(frozen=True)
class Prepared:
    """The arrays of one dataset at one size.

    `images` is (N, image_px, image_px, 3) and `masks` (N, image_px, image_px), both uint8; `names`, `splits` and `strata`
    have N entries; `pool` are the official splits that a protocol in per cent divides; `moments` (N, 2, 3) float64 is per
    picture and channel the sum of the pixel values and of their squares; `pixels` (N, C + 1) int64 is per picture the number
    of pixels of each class, the ignored ones last; `protocols` are the dataset's own, by name; `groups` are those of
    `Example.group`, or none at all; `fit` says how pictures became square; `bits` is the range by which 16-bit originals
    became 8 bits, the fewest bits that hold their `largest` value, None where there are none. Of the originals, before they
    became square, `identity` (N, 3, 16) uint8 holds digests (see `segsweep.data.identity`) and `shown` (N, C + 1) uint8 is 1
    where the mask shows a class, the ignored pixels last; both have no rows where nothing is known. All arrays are
    memory-mapped. An unlabelled dataset has no `classes` and masks of (N, 0, 0). `foreground` is the number of the class
    that headline metrics belong to where there are two; `originals` are the masks at their own sizes, where a test is to use
    them.
    """

    dataset: str
    images: Pixels
    masks: Pixels
    classes: Sequence[str]
    pool: Sequence[str]
    names: Sequence[str]
    splits: Sequence[str]
    strata: Sequence[str]
    moments: Moments
    pixels: Counts
    protocols: Mapping[str, Division] = field(default_factory=dict)
    foreground: int = 1
    originals: OriginalMasks | None = None
    groups: Sequence[str | None] = ()
    fit: str = "resize"
    bits: int | None = None
    largest: int = 0
    identity: Pixels = field(default_factory=lambda: np.empty((0, DIGESTS, DIGEST_BYTES), np.uint8))
    shown: Pixels = field(default_factory=lambda: np.empty((0, 0), np.uint8))

    @classmethod
    def undecoded(cls, dataset: Dataset, examples: Sequence[Example], classes: Sequence[str]) -> Self:
        """Return what is known of a dataset before its images are decoded: strata only where its reader gives them."""
        nothing = np.empty((len(examples), 0, 0))
        return cls(
            dataset=dataset.name,
            images=nothing.astype(np.uint8),
            masks=nothing.astype(np.uint8),
            classes=classes,
            pool=dataset.pool,
            names=[example.name for example in examples],
            splits=[example.split for example in examples],
            strata=[example.stratum or "" for example in examples],
            moments=nothing,
            pixels=nothing.astype(np.int64),
            protocols=dataset.protocols,
            groups=[example.group for example in examples],
        )

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the arrays in a folder of the store. Nothing is read until it is used."""
        index = json.loads((folder / DATA_INDEX_FILE).read_text(encoding="utf-8"))
        names = (IMAGES_FILE, MOMENTS_FILE, PIXELS_FILE, IDENTITY_FILE, SHOWN_FILE)
        images, moments, pixels, identity, shown = (np.load(folder / name, mmap_mode="r") for name in names)
        unlabelled = np.empty((len(images), 0, 0), dtype=np.uint8)  # a file of no bytes cannot be mapped
        listed: dict[str, Any] = {key: tuple(index[key]) for key in LISTED}
        return cls(
            dataset=index["dataset"],
            images=images,
            masks=np.load(folder / MASKS_FILE, mmap_mode="r") if index["classes"] else unlabelled,
            moments=moments,
            pixels=pixels,
            protocols=index["protocols"],
            fit=index["fit"],
            bits=index["bits"],
            largest=index["largest"],
            identity=identity,
            shown=shown,
            foreground=foreground_number(index["classes"]),
            **listed,
        )

    def with_foreground(self, name: str | None) -> Self:
        """Return the same data with the foreground that a study names; None leaves it. Raises `UserError` for no such class."""
        return self if name is None else replace(self, foreground=foreground_number(self.classes, name))

    @property
    def labelled(self) -> bool:
        """Whether there are masks."""
        return bool(self.classes)

    @cached_property
    def content(self) -> npt.NDArray[np.int64]:
        """Numbers (N,) that are equal for identical images, those whose decoded originals are equal."""
        if len(self.identity) == 0:
            return np.arange(len(self.names))
        numbers: npt.NDArray[np.int64] = np.unique(self.identity[:, OF_PIXELS], axis=0, return_inverse=True)[1].reshape(-1)
        return numbers

    def mean_std(self, members: npt.NDArray[np.int64]) -> tuple[Channels, Channels]:
        """Return mean and standard deviation (red, green, blue) in 0..1 over all pixels of some pictures."""
        count = len(members) * self.images.shape[1] * self.images.shape[2]
        sums, squares = self.moments[members].sum(axis=0)
        mean = sums / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        red, green, blue = (mean / 255).tolist()
        red_std, green_std, blue_std = (std / 255).tolist()
        return (red, green, blue), (red_std, green_std, blue_std)

    def class_pixels(self, members: npt.NDArray[np.int64]) -> Counts:
        """Return how many pixels of some pictures each class has, (C,) int64; ignored ones are not counted."""
        counts: Counts = self.pixels[members, : len(self.classes)].sum(axis=0)
        return counts

    def class_frequencies(self, members: npt.NDArray[np.int64]) -> Frequencies:
        """Return the frequency of each class in some images, (C,) float64 in 0..1; 0 for a class that none of them shows.

        The frequency of a class is its number of pixels, divided by the number of all pixels of the images that show the class
        (Eigen and Fergus 2015, arXiv:1411.4734); ignored pixels are not counted.
        """
        pixels_NC = self.pixels[members, : len(self.classes)]
        all_of_images_C = ((pixels_NC > 0) * pixels_NC.sum(axis=1, keepdims=True)).sum(axis=0)
        frequencies: Frequencies = pixels_NC.sum(axis=0) / np.maximum(all_of_images_C, 1)
        return frequencies


def image_moments(image_HWC: Pixels) -> Moments:
    """Return the sum of each channel's values, and of their squares: (2, 3), exact."""
    values = np.arange(256)
    histograms = np.stack([np.bincount(channel, minlength=256) for channel in image_HWC.reshape(-1, 3).T], axis=1)
    return np.stack([values @ histograms, values**2 @ histograms]).astype(np.float64)


def pixel_counts(mask_HW: Pixels, classes: int) -> Counts:
    """Return the number of pixels of each class, the ignored ones last: (classes + 1,)."""
    counts = np.bincount(mask_HW.ravel(), minlength=IGNORE + 1)
    return counts[[*range(classes), IGNORE]].astype(np.int64)
