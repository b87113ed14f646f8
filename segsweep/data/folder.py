"""`folder:PATH`: a user's own data set as a plain folder of pictures and masks.

Layout: `images/NAME.*`, `masks/NAME.png` with the class numbers 0, 1, 2 ... (255 is ignored), and `classes.txt` with one
class a line, in the order of the numbers (the number may stand before the name). Optional lists `train.txt`, `val.txt`
and `test.txt`, one name a line, give the data set's own splits. An optional `groups.csv` with lines `NAME,GROUP` says which
images must stay on one side of a split (frames of a video, slices of a patient). With neither `masks/` nor `classes.txt` the
pictures are unlabelled: for self-supervised stages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from segsweep.data.dataset import IGNORE, Division, Example, Fit, Levels, Pixels
from segsweep.data.groups import read_groups
from segsweep.data.listing import PICTURE_ENDINGS, lines, pictures_in
from segsweep.data.picture import open_image, pair_files, read_pair
from segsweep.errors import UserError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Folder:
    """Reader for one folder of pictures and masks."""

    folder: Path
    name: str
    fit: ClassVar[Fit] = "resize"
    protocols: ClassVar[Mapping[str, Division]] = {}

    @cached_property
    def schemes(self) -> Mapping[str, Sequence[str]]:
        """The classes of `classes.txt`; none where there are no masks."""
        path = self.folder / "classes.txt"
        if not path.is_file() and not (self.folder / "masks").is_dir():
            return {"unlabelled": ()}
        if not path.is_file():
            raise UserError(f"{self.name}: {path} is missing; expected images/, masks/ and classes.txt, one class a line")
        names = []
        for number, line in enumerate(lines(path)):
            first, *rest = line.split(maxsplit=1)
            if first.isdecimal() and rest and int(first) != number:
                raise UserError(f"{path}: line {number + 1} reads {line!r}; the classes must be numbered 0, 1, 2 ... in order")
            names.append(rest[0] if first.isdecimal() and rest else line)
        if not 2 <= len(names) <= IGNORE or len(set(names)) < len(names):
            raise UserError(f"{path}: names {len(names)} classes; needs 2 to 255 different ones")
        return {"all": tuple(names)}

    @property
    def pool(self) -> Sequence[str]:
        """Everything, whatever lists there are."""
        return SPLITS

    @cached_property
    def _images(self) -> dict[str, Path]:
        folder = self.folder / "images"
        if not folder.is_dir():
            raise UserError(f"{self.name}: folder {folder} is missing; expected images/, masks/ and classes.txt")
        images: dict[str, Path] = {}
        for path in pictures_in(folder):
            if path.stem in images:
                raise UserError(f"{path}: {images[path.stem].name} has the same name; one mask cannot serve two pictures")
            images[path.stem] = path
        if not images:
            raise UserError(f"{self.name}: folder {folder} holds no pictures ({', '.join(PICTURE_ENDINGS)})")
        return images

    @cached_property
    def _groups(self) -> dict[str, str]:
        path = self.folder / "groups.csv"
        return read_groups(path, self._images) if path.is_file() else {}

    def _lists(self) -> dict[str, Path]:
        return {split: self.folder / f"{split}.txt" for split in SPLITS if (self.folder / f"{split}.txt").is_file()}

    def examples(self) -> list[Example]:
        """Return every picture by name, or those of the lists where there are lists."""
        if not (lists := self._lists()):
            return [self._example(name, "train") for name in self._images]
        found: dict[str, Example] = {}
        for split, path in lists.items():
            for name in lines(path):
                stem = Path(name).stem if Path(name).suffix.lower() in PICTURE_ENDINGS else name
                if stem not in self._images:
                    raise UserError(f"{path}: names {name!r}, but {self.folder / 'images'} has no such picture")
                if stem in found:
                    raise UserError(f"{path}: names {name!r}, which {found[stem].split}.txt names too; a picture has one split")
                found[stem] = self._example(stem, split)
        return list(found.values())

    def _example(self, name: str, split: str) -> Example:
        mask = self.folder / "masks" / f"{name}.png" if self.schemes.get("all") else None
        return Example(name, self._images[name], mask, split, group=self._groups.get(name))

    def files(self) -> list[Path]:
        """Return the lists, the class names, the groups, the pictures and the masks."""
        names = [self.folder / "classes.txt"] if self.schemes.get("all") else []
        names += [self.folder / "groups.csv"] if self._groups else []
        return [*names, *self._lists().values(), *pair_files(self.examples())]

    def revision(self) -> str:
        """Return the version of this reader."""
        return "folder 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:
        """Return a picture and its class numbers, no mask where there are none."""
        if example.mask is None:
            assert example.image is not None
            return open_image(example.image), np.empty((0, 0), np.uint8)
        values = {value: value for value in range(len(self.schemes[scheme]))} | {255: IGNORE}
        return read_pair(example.image, example.mask, values)
