"""Cityscapes, fine annotations (Cordts et al. 2016): street scenes of 50 cities.

Official layout: `leftImg8bit/{train,val}/CITY/NAME_leftImg8bit.png`, `gtFine/{train,val}/CITY/NAME_gtFine_labelIds.png`.
The official test split has no public masks and is left out. The labels, and which of them are evaluated, follow the table of
https://github.com/mcordts/cityscapesScripts/blob/4b83263/cityscapesscripts/helpers/labels.py. The licence plate (-1) has
no number in `labelIds` files; some copies write it as 255, which is ignored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from segsweep.data.dataset import IGNORE, Division, Example, Fit, Levels, Pixels
from segsweep.data.image_files import pair_files, read_pair
from segsweep.data.listing import folders_in, image_files_in
from segsweep.errors import UserError

RAW = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk",
    "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup",
    "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan",
    "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip
EVALUATED = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain", "sky",
    "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
VALUES = {
    "evaluated": {255: IGNORE} | {at: EVALUATED.index(name) if name in EVALUATED else IGNORE for at, name in enumerate(RAW)},
    "raw": {255: IGNORE} | {at: at for at in range(len(RAW))},
}
SPLITS = ("train", "val")
IMAGE, MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"


@dataclass(frozen=True)
class Cityscapes:
    """Reader for the folder that holds `leftImg8bit` and `gtFine`. The stratum is the city."""

    folder: Path
    name: str = "cityscapes"
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = SPLITS
    protocols: ClassVar[Mapping[str, Division]] = {}
    schemes: ClassVar[Mapping[str, Sequence[str]]] = {"evaluated": EVALUATED, "raw": RAW}

    def examples(self) -> list[Example]:
        """Return the images of `train` and `val`, each in the order of cities and names."""
        return [example for split in SPLITS for example in self._split(split)]

    def _split(self, split: str) -> list[Example]:
        images = self.folder / "leftImg8bit" / split
        found = []
        for path in (path for city in folders_in(images) for path in image_files_in(city) if path.name.endswith(IMAGE)):
            city, name = path.parent.name, path.name.removesuffix(IMAGE)
            mask = self.folder / "gtFine" / split / city / f"{name}{MASK}"
            found.append(Example(f"{city}/{name}", path, mask, split, stratum=city))
        if not found:
            raise UserError(f"{self.name}: {images}/CITY/*{IMAGE} are missing; expected the official layout of Cityscapes")
        return found

    def files(self) -> list[Path]:
        """Return the paths of the images and masks."""
        return pair_files(self.examples())

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "cityscapes 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:
        """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8."""
        return read_pair(example.image, example.mask, VALUES[scheme])
