"""ISIC 2018 Task 1, lesion boundaries (Codella et al. 2019): dermoscopy photographs, skin and lesion.

Official layout: `ISIC2018_Task1-2_Training_Input/NAME.jpg`, `ISIC2018_Task1_Training_GroundTruth/NAME_segmentation.png` (0
and 255). Folders with `Validation` and `Test` instead of `Training` are the official splits `val` and `test`, and are optional.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from segsweep.data.dataset import Division, Example, Fit, Levels, Pixels
from segsweep.data.image_files import pair_files, read_pair
from segsweep.data.listing import image_files_in
from segsweep.errors import UserError

PARTS = {"train": "Training", "val": "Validation", "test": "Test"}
VALUES = {0: 0, 255: 1}


@dataclass(frozen=True)
class Isic2018:
    """Reader for the folder that holds the official folders."""

    folder: Path
    name: str = "isic2018"
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = ("train",)
    protocols: ClassVar[Mapping[str, Division]] = {}
    schemes: ClassVar[Mapping[str, Sequence[str]]] = {"lesion": ("background", "lesion")}

    def examples(self) -> list[Example]:
        """Return the images of every split whose folders exist, each in the order of names."""
        found = []
        for split, part in PARTS.items():
            images, masks = self.folder / f"ISIC2018_Task1-2_{part}_Input", self.folder / f"ISIC2018_Task1_{part}_GroundTruth"
            if split != "train" and not (images.is_dir() and masks.is_dir()):
                continue
            for path in image_files_in(images):
                found.append(Example(path.stem, path, masks / f"{path.stem}_segmentation.png", split))
        if not any(example.split == "train" for example in found):
            missing = self.folder / "ISIC2018_Task1-2_Training_Input"
            raise UserError(f"{self.name}: {missing} holds no images; expected the official layout of ISIC 2018 Task 1")
        return found

    def files(self) -> list[Path]:
        """Return the paths of the images and masks."""
        return pair_files(self.examples())

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "isic2018 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:  # noqa: ARG002
        """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8."""
        return read_pair(example.image, example.mask, VALUES)
