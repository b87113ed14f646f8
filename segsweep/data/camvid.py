"""CamVid (Brostow et al. 2008): frames from a driving car, the 11 classes of SegNet (Badrinarayanan et al. 2017).

Layout of the SegNet tutorial: `{train,val,test}/NAME.png`, and masks of the same names in `{train,val,test}annot/`, with values
0..10 for the classes and 11 for unlabelled pixels, which are ignored. The layout may lie in a subfolder `CamVid`.
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
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
VALUES = {11: IGNORE, 255: IGNORE} | {value: value for value in range(len(CLASSES))}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class CamVid:
    """Reader for a folder that holds `train` and `trainannot`, or that holds them in `CamVid`."""

    folder: Path
    name: str = "camvid"
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = SPLITS
    protocols: ClassVar[Mapping[str, Division]] = {}
    schemes: ClassVar[Mapping[str, Sequence[str]]] = {"all": CLASSES}

    def examples(self) -> list[Example]:
        """Return the images of the three official splits, each in the order of names. The group is the drive."""
        root = self.folder / "CamVid" if (self.folder / "CamVid").is_dir() else self.folder
        found = []
        for split in SPLITS:
            images = image_files_in(root / split)
            if not images:
                raise UserError(f"{self.name}: {root / split} holds no images; expected the layout of the SegNet tutorial")
            found += [
                Example(path.stem, path, root / f"{split}annot" / path.name, split, group=_drive(path.stem)) for path in images
            ]
        return found

    def files(self) -> list[Path]:
        """Return the paths of the images and masks."""
        return pair_files(self.examples())

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "camvid 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:  # noqa: ARG002
        """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8."""
        return read_pair(example.image, example.mask, VALUES)


def _drive(name: str) -> str | None:
    """Return the drive of a frame, such as `0001TP` for `0001TP_006690`; None for a name without a drive."""
    drive, underscore, _ = name.partition("_")
    return drive if underscore and drive else None
