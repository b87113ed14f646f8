"""A prepared dataset: memory-mapped arrays, and properties of every image."""

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
LISTED = ("classes", "pool", "names", "splits", "strata", "groups")  # sequences in the index


class OriginalMasks(Protocol):
    """The masks of a prepared dataset at their original sizes; see `segsweep.data.originals`."""

    def mask(self, number: int) -> Pixels:
        """Return the mask of an image, (H, W) uint8, by the image's number in the dataset."""


@dataclass(frozen=True)
class Prepared:
    """The memory-mapped arrays of one dataset of N images and C classes, at one size S in pixels.

    `images`: (N, S, S, 3), uint8.
    `masks`: (N, S, S), uint8, class numbers and `IGNORE`; (N, 0, 0) for an unlabelled dataset, which has no `classes`.
    `names`, `splits`, `strata`: N strings. `groups`: N values of `Example.group`, or none.
    `moments`: (N, 2, 3), float64, per image and channel the sum of the pixel values and the sum of their squares.
    `pixels`: (N, C + 1), int64, per image the number of pixels of each class at this size, ignored pixels last.
    `identity`: (N, 3, 16), uint8, digests of the originals (see `segsweep.data.identity`); no rows if unknown.
    `shown`: (N, C + 1), uint8, 1 if the original mask shows the class, ignored pixels last; no rows if unknown.
    `pool`: the official splits that a protocol in per cent divides. `protocols`: the dataset's protocols by name.
    `fit`: the way in which images became square.
    `bits`, `largest`: the range by which 16-bit originals became 8 bits, the fewest bits that hold their largest value; None and
    0 without 16-bit originals.
    `foreground`: number of the class that the main metrics describe if there are two classes.
    `originals`: the masks at their original sizes, if the test uses them.
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
        """Return the properties of a dataset before its images are decoded; strata only as far as its reader knows them."""
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
        """Open the arrays in a folder of the store. Their contents are read when they are used."""
        index = json.loads((folder / DATA_INDEX_FILE).read_text(encoding="utf-8"))
        names = (IMAGES_FILE, MOMENTS_FILE, PIXELS_FILE, IDENTITY_FILE, SHOWN_FILE)
        images, moments, pixels, identity, shown = (np.load(folder / name, mmap_mode="r") for name in names)
        unlabelled = np.empty((len(images), 0, 0), dtype=np.uint8)  # an empty file cannot be memory-mapped
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
        """Return the data with the foreground class `name`; unchanged for None. Raises `UserError` for an unknown class."""
        return self if name is None else replace(self, foreground=foreground_number(self.classes, name))

    @property
    def labelled(self) -> bool:
        """Whether the dataset has masks."""
        return bool(self.classes)

    @cached_property
    def content(self) -> npt.NDArray[np.int64]:
        """Numbers, (N,) int64, that are equal for images whose decoded originals are identical."""
        if len(self.identity) == 0:
            return np.arange(len(self.names))
        numbers: npt.NDArray[np.int64] = np.unique(self.identity[:, OF_PIXELS], axis=0, return_inverse=True)[1].reshape(-1)
        return numbers

    def mean_std(self, members: npt.NDArray[np.int64]) -> tuple[Channels, Channels]:
        """Return the mean and standard deviation of each channel (red, green, blue), in 0..1, over the images `members` (M,)."""
        count = len(members) * self.images.shape[1] * self.images.shape[2]
        sums, squares = self.moments[members].sum(axis=0)
        mean = sums / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        red, green, blue = (mean / 255).tolist()
        red_std, green_std, blue_std = (std / 255).tolist()
        return (red, green, blue), (red_std, green_std, blue_std)

    def class_pixels(self, members: npt.NDArray[np.int64]) -> Counts:
        """Return the number of pixels of each class, (C,) int64, in the images `members` (M,), without ignored pixels."""
        counts: Counts = self.pixels[members, : len(self.classes)].sum(axis=0)
        return counts

    def class_frequencies(self, members: npt.NDArray[np.int64]) -> Frequencies:
        """Return the frequency of each class in the images `members` (M,): (C,) float64 in 0..1, 0 for a class that none shows.

        The frequency of a class is its number of pixels, divided by the number of all pixels of the images that show the class
        (Eigen and Fergus 2015, arXiv:1411.4734); ignored pixels are not counted.
        """
        pixels_MC = self.pixels[members, : len(self.classes)]
        showing_images_C = ((pixels_MC > 0) * pixels_MC.sum(axis=1, keepdims=True)).sum(axis=0)
        frequencies: Frequencies = pixels_MC.sum(axis=0) / np.maximum(showing_images_C, 1)
        return frequencies


def image_moments(image_HWC: Pixels) -> Moments:
    """Return the sum of the values of each channel of an image (H, W, 3), and of their squares: (2, 3) float64, exact."""
    values = np.arange(256)
    histograms = np.stack([np.bincount(channel, minlength=256) for channel in image_HWC.reshape(-1, 3).T], axis=1)
    return np.stack([values @ histograms, values**2 @ histograms]).astype(np.float64)


def pixel_counts(mask_HW: Pixels, classes: int) -> Counts:
    """Return the number of pixels of each class in a mask (H, W), ignored pixels last: (C + 1,) int64 for C `classes`."""
    counts = np.bincount(mask_HW.ravel(), minlength=IGNORE + 1)
    return counts[[*range(classes), IGNORE]].astype(np.int64)
