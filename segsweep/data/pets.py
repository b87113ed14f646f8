"""Oxford-IIIT Pet (Parkhi et al. 2012): 37 breeds of cats and dogs, with trimaps.

Official layout: `images/NAME.jpg`, `annotations/trimaps/NAME.png` (1 pet, 2 background, 3 border),
`annotations/trainval.txt` and `annotations/test.txt`. A few of the official images are GIF or PNG under `.jpg`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from segsweep.data.dataset import Division, Example, Fit, Levels, Pixels
from segsweep.data.image_files import pair_files, read_pair
from segsweep.data.listing import lines
from segsweep.errors import UserError

TRIMAP_VALUES = {"foreground": {1: 1, 2: 0, 3: 1}, "trimap": {1: 0, 2: 1, 3: 2}}


@dataclass(frozen=True)
class Pets:
    """Reader for one folder in the official layout. In the scheme `foreground`, the border belongs to the pet."""

    folder: Path
    name: str = "pets"
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = ("trainval",)
    protocols: ClassVar[Mapping[str, Division]] = {
        "50-25-25": (
            (("trainval",), (100, 0, 0)),
            (("test",), (0, 50, 50)),
        ),  # trainval for training, half of test for validation
    }
    schemes: ClassVar[Mapping[str, Sequence[str]]] = {
        "foreground": ("background", "pet"),
        "trimap": ("pet", "background", "boundary"),
    }

    def examples(self) -> list[Example]:
        """Return the images of both official lists; the stratum is the breed."""
        found = []
        for split in ("trainval", "test"):
            listing = self._listing(split)
            if not listing.is_file():
                raise UserError(f"{self.name}: {listing} is missing; expected the official layout of Oxford-IIIT Pet")
            found += [self._example(line.split()[0], split) for line in lines(listing) if not line.startswith("#")]
        return found

    def _listing(self, split: str) -> Path:
        return self.folder / "annotations" / f"{split}.txt"

    def _example(self, name: str, split: str) -> Example:
        image = self.folder / "images" / f"{name}.jpg"
        mask = self.folder / "annotations" / "trimaps" / f"{name}.png"
        return Example(name, image, mask, split, stratum=name.rpartition("_")[0])

    def files(self) -> list[Path]:
        """Return the paths of the lists, images and trimaps."""
        return [self._listing("trainval"), self._listing("test"), *pair_files(self.examples())]

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "pets 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:
        """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8."""
        return read_pair(example.image, example.mask, TRIMAP_VALUES[scheme])
