"""MAS3K, marine animals (Li et al. 2021): under water, common and camouflaged.

Official layout: `{train,test}/Image/MAS_GROUP_ANIMAL_{Cam,Com}_N.jpg` and `{train,test}/Mask/` with the same names as
`.png`, 255 where the animal is. The masks tell no animals apart: the animal is the third part of the name, as in
`MAS_Arthropod_Crab_Cam_363.jpg`. So in the scheme `species` the foreground of a mask has the class that its name says.

The study of source domains speaks of "37 types of marine animals such as crab and starfish": 37 counts the animals, not
the background. `species` therefore has the background and a class for every animal that the names hold, in the order of
the alphabet: 38 with the whole dataset. `binary` tells animal from background alone.
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
NONE = "none"  # the stratum of a picture whose name holds no animal


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
        """The animals that the names hold, and animal or not."""
        animals = {example.stratum for example in self.examples() if example.stratum} - {NONE}
        return {"species": ("background", *sorted(animals)), "binary": ("background", "animal")}

    def examples(self) -> list[Example]:
        """Return the pictures of both official splits by name."""
        found = []
        for split in SPLITS:
            folder = self.folder / split
            images = image_files_in(folder / "Image")
            if not images:
                raise UserError(f"{self.name}: {folder}/Image holds no pictures; expected the official layout of MAS3K")
            for path in images:
                match = NAME.fullmatch(path.stem)
                mask = folder / "Mask" / f"{path.stem}.png"
                found.append(Example(path.stem, path, mask, split, stratum=match[1].lower() if match else NONE))
        return found

    def files(self) -> list[Path]:
        """Return the pictures and the masks."""
        return pair_files(self.examples())

    def revision(self) -> str:
        """Return the version of this reader."""
        return "mas3k 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:
        """Return a picture and its class numbers. Raises `UserError` too for an animal without a name, in `species`."""
        image, animal = read_pair_with(example.image, example.mask, halved)
        if scheme == "binary" or not animal.any():
            return image, animal
        if example.stratum == NONE:
            raise UserError(f"{example.image}: its name tells no animal (MAS_GROUP_ANIMAL_Cam_N); use the classes 'binary'")
        return image, animal * np.uint8(self.schemes[scheme].index(example.stratum or NONE))
