"""Cats and dogs (Elson et al. 2007): photographs without masks, for self-supervised stages.

Layouts: `{train,test}/{cats,dogs}/*.jpg`, or Kaggle's flat layout, `train/cat.0.jpg` and `train/dog.0.jpg`, whose `test1` is
not read. The animal is the stratum of an image and is used for nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from segsweep.data.dataset import Division, Example, Fit, Levels, Pixels
from segsweep.data.image_files import open_levels, pair_files
from segsweep.data.listing import image_files_in
from segsweep.errors import UserError

SPLITS = ("train", "test")
KINDS = {"cats": "cat", "dogs": "dog"}


@dataclass(frozen=True)
class CatsDogs:
    """Reader for the folder that holds `train`."""

    folder: Path
    name: str = "cats_dogs"
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = SPLITS
    protocols: ClassVar[Mapping[str, Division]] = {}
    schemes: ClassVar[Mapping[str, Sequence[str]]] = {"unlabelled": ()}

    def examples(self) -> list[Example]:
        """Return the images in the order of splits, kinds and names."""
        in_folders = [
            Example(f"{split}/{folder}/{path.stem}", path, split=split, stratum=kind)
            for split in SPLITS
            for folder, kind in KINDS.items()
            for path in image_files_in(self.folder / split / folder)
        ]
        flat = [
            Example(f"train/{path.stem}", path, stratum=kind)
            for kind in KINDS.values()
            for path in image_files_in(self.folder / "train")
            if path.name.startswith(f"{kind}.")
        ]
        found = in_folders or flat
        if not any(example.split == "train" for example in found):
            raise UserError(f"{self.name}: {self.folder}/train holds neither cats/ and dogs/ nor cat.0.jpg, dog.0.jpg ...")
        return found

    def files(self) -> list[Path]:
        """Return the paths of the images."""
        return pair_files(self.examples())

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "cats_dogs 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:  # noqa: ARG002
        """Return an image (H, W, 3), uint8 or uint16, and an empty mask (0, 0)."""
        assert example.image is not None
        return open_levels(example.image), np.empty((0, 0), np.uint8)
