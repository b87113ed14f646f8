"""PASCAL VOC 2012 segmentation (Everingham et al. 2010): 20 classes and background, borders ignored.

Official layout: `VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation/{train,val}.txt}`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from segsweep.data.dataset import IGNORE, Division, Example, Fit, Levels, Pixels
from segsweep.data.image_files import pair_files, read_pair
from segsweep.data.listing import lines
from segsweep.errors import UserError

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VALUES = {value: value for value in range(len(CLASSES))} | {255: IGNORE}


@dataclass(frozen=True)
class Voc2012:
    """Reader for a folder that holds `VOCdevkit/VOC2012`, or for that folder itself."""

    folder: Path
    name: str = "voc2012"
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = ("train", "val")
    protocols: ClassVar[Mapping[str, Division]] = {}
    schemes: ClassVar[Mapping[str, Sequence[str]]] = {"all": CLASSES}

    @property
    def _root(self) -> Path:
        for below in ("VOCdevkit/VOC2012", "VOC2012", "."):
            if (self.folder / below / "JPEGImages").is_dir():
                return self.folder / below
        raise UserError(f"{self.name}: {self.folder}/VOCdevkit/VOC2012/JPEGImages is missing; expected the official layout")

    def _listing(self, split: str) -> Path:
        return self._root / "ImageSets" / "Segmentation" / f"{split}.txt"

    def examples(self) -> list[Example]:
        """Return the images of the segmentation lists `train` and `val`."""
        root, found = self._root, []
        for split in ("train", "val"):
            listing = self._listing(split)
            if not listing.is_file():
                raise UserError(f"{self.name}: {listing} is missing; expected the official layout of PASCAL VOC 2012")
            for name in lines(listing):
                found.append(
                    Example(name, root / "JPEGImages" / f"{name}.jpg", root / "SegmentationClass" / f"{name}.png", split)
                )
        return found

    def files(self) -> list[Path]:
        """Return the paths of the lists, images and masks."""
        return [self._listing("train"), self._listing("val"), *pair_files(self.examples())]

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "voc2012 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:  # noqa: ARG002
        """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8."""
        return read_pair(example.image, example.mask, VALUES)
