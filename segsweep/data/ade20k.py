"""ADE20K scene parsing (Zhou et al. 2017): indoor and outdoor scenes, the 150 classes of the 2016 challenge.

Official layout: `ADEChallengeData2016/{images,annotations}/{training,validation}/NAME.{jpg,png}`. Mask values 1..150 are the
classes; 0 is all other things and is ignored. Names: the first name of each line of
https://github.com/CSAILVision/sceneparsing/blob/4ce20bd/objectInfo150.txt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from segsweep.data.dataset import IGNORE, Division, Example, Fit, Levels, Pixels
from segsweep.data.image_files import pair_files, read_pair
from segsweep.data.listing import image_files_in
from segsweep.errors import UserError

CLASSES = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet", "sidewalk",
    "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water", "painting", "sofa",
    "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp",
    "bathtub", "railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter", "sand", "sink",
    "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool table", "pillow",
    "screen door", "stairway", "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill",
    "bench", "countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine",
    "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television",
    "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster",
    "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool",
    "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank",
    "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture", "hood",
    "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor", "bulletin board",
    "shower", "radiator", "glass", "clock", "flag",
)  # fmt: skip
VALUES = {0: IGNORE} | {value: value - 1 for value in range(1, len(CLASSES) + 1)}
FOLDERS = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class Ade20k:
    """Reader for a folder that holds `ADEChallengeData2016`, or for that folder itself."""

    folder: Path
    name: str = "ade20k"
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = ("train", "val")
    protocols: ClassVar[Mapping[str, Division]] = {}
    schemes: ClassVar[Mapping[str, Sequence[str]]] = {"all": CLASSES}

    @property
    def _root(self) -> Path:
        below = self.folder / "ADEChallengeData2016"
        return below if below.is_dir() else self.folder

    def examples(self) -> list[Example]:
        """Return the images of `training` and `validation`, each in the order of names."""
        found = []
        for split, part in FOLDERS.items():
            images = image_files_in(self._root / "images" / part)
            if not images:
                raise UserError(
                    f"{self.name}: {self._root}/images/{part} holds no images; expected the layout of the 2016 challenge"
                )
            masks = self._root / "annotations" / part
            found += [Example(path.stem, path, masks / f"{path.stem}.png", split) for path in images]
        return found

    def files(self) -> list[Path]:
        """Return the paths of the images and masks."""
        return pair_files(self.examples())

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "ade20k 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:  # noqa: ARG002
        """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8."""
        return read_pair(example.image, example.mask, VALUES)
