"""Cats and dogs (Elson et al. 2007): photographs without masks, to learn from without labels.

Layouts: `{train,test}/{cats,dogs}/*.jpg`, or Kaggle's flat one, `train/cat.0.jpg` and `train/dog.0.jpg`, whose `test1` is
left alone. What a picture shows is its stratum and nothing else.
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
        """Return the pictures by split, kind and name."""
        sorted_out = [
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
        found = sorted_out or flat
        if not any(example.split == "train" for example in found):
            raise UserError(f"{self.name}: {self.folder}/train holds neither cats/ and dogs/ nor cat.0.jpg, dog.0.jpg ...")
        return found

    def files(self) -> list[Path]:
        """Return the pictures."""
        return pair_files(self.examples())

    def revision(self) -> str:
        """Return the version of this reader."""
        return "cats_dogs 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:  # noqa: ARG002
        """Return a picture and no mask."""
        assert example.image is not None
        return open_levels(example.image), np.empty((0, 0), np.uint8)
