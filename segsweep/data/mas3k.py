"""MAS3K, marine animals (Li et al. 2021): under water, common and camouflaged.

Official layout: `{train,test}/Image/MAS_GROUP_ANIMAL_{Cam,Com}_N.jpg` and `{train,test}/Mask/` with the same names as
`.png`, 255 for the animal. The masks do not distinguish animals: the animal is the third part of the name, as in
`MAS_Arthropod_Crab_Cam_363.jpg`. In the scheme `species`, the foreground of a mask therefore has the class of its name.

The study of source domains mentions "37 types of marine animals such as crab and starfish": 37 is the number of animals without
the background. `species` therefore has the background and one class for every animal in the names, in alphabetical order: 38 for
the whole dataset. `binary` has the two classes background and animal.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from segsweep.data.dataset import Division, Example, Fit, Levels, Pixels
from segsweep.data.image_files import halved, pair_files, read_pair_with
from segsweep.data.listing import image_files_in
from segsweep.errors import UserError

SPLITS = ("train", "test")
NAME = re.compile(r"MAS_[^_]+_([^_]+)_(?:Cam|Com)_[0-9]+")
NONE = "none"  # the stratum of an image whose name contains no animal


@dataclass(frozen=True)
class Mas3k:
    """Reader for the folder that holds `train` and `test`. The stratum is the animal."""

    folder: Path
    name: str = "mas3k"
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = SPLITS
    protocols: ClassVar[Mapping[str, Division]] = {}

    @cached_property
    def schemes(self) -> Mapping[str, Sequence[str]]:
        """`species`, the background and the animals in the names, and `binary`, background and animal."""
        animals = {example.stratum for example in self.examples() if example.stratum} - {NONE}
        return {"species": ("background", *sorted(animals)), "binary": ("background", "animal")}

    def examples(self) -> list[Example]:
        """Return the images of both official splits, each in the order of names."""
        found = []
        for split in SPLITS:
            folder = self.folder / split
            images = image_files_in(folder / "Image")
            if not images:
                raise UserError(f"{self.name}: {folder}/Image holds no images; expected the official layout of MAS3K")
            for path in images:
                match = NAME.fullmatch(path.stem)
                mask = folder / "Mask" / f"{path.stem}.png"
                found.append(Example(path.stem, path, mask, split, stratum=match[1].lower() if match else NONE))
        return found

    def files(self) -> list[Path]:
        """Return the paths of the images and masks."""
        return pair_files(self.examples())

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "mas3k 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:
        """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8.

        Raises `UserError` in the scheme `species` if the file's name contains no animal.
        """
        image, animal = read_pair_with(example.image, example.mask, halved)
        if scheme == "binary" or not animal.any():
            return image, animal
        if example.stratum == NONE:
            raise UserError(f"{example.image}: its name contains no animal (MAS_GROUP_ANIMAL_Cam_N); use the classes 'binary'")
        return image, animal * np.uint8(self.schemes[scheme].index(example.stratum or NONE))
