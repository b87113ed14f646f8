"""A prepared data set: memory-mapped arrays and what is known of every picture."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from segsweep.data.dataset import Pixels


@dataclass(frozen=True)
class Prepared:
    """The arrays of one data set at one size.

    `images` is (N, image_px, image_px, 3) and `masks` (N, image_px, image_px), both uint8 and memory-mapped; `names`,
    `splits` and `strata` have N entries; `pool` are the official splits that a protocol in per cent divides.
    """

    dataset: str
    images: Pixels
    masks: Pixels
    classes: Sequence[str]
    pool: Sequence[str]
    names: Sequence[str]
    splits: Sequence[str]
    strata: Sequence[str]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the arrays in a folder of the store. Nothing is read until it is used."""
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        return cls(
            dataset=index["dataset"],
            images=np.load(folder / "images.npy", mmap_mode="r"),
            masks=np.load(folder / "masks.npy", mmap_mode="r"),
            **{key: tuple(index[key]) for key in ("classes", "pool", "names", "splits", "strata")},
        )
