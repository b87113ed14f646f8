"""`folder:PATH`: a user's dataset as a plain folder of images and masks.

Layout: `images/NAME.*`, `masks/NAME.png` (or another lossless format) with the class numbers 0, 1, 2 ... (255 is ignored), and
`classes.txt` with one class per line, in the order of the numbers (see `segsweep.data.class_list`). Both folders may have the
same subfolders: `images/north/1.jpg` has the mask `masks/north/1.png` and the name `north/1`. Optional lists `train.txt`,
`val.txt` and `test.txt`, with one name per line, define the dataset's splits; without lists, subfolders of `images/` with these
names do. An optional `groups.csv` with lines `NAME,GROUP` defines which images must stay on one side of a split (frames of a
video, slices of a patient). With neither `masks/` nor `classes.txt`, the images are unlabelled, for self-supervised stages.
`remarks` names all other files in the folder. `segsweep.data.coco_folder` reads a folder with a COCO file instead of masks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from segsweep.data.class_list import COMMENT, read_classes
from segsweep.data.dataset import IGNORE, Division, Example, Fit, Levels, Pixels
from segsweep.data.groups import read_groups
from segsweep.data.image_files import check_same_way_up, open_levels, pair_files, read_pair
from segsweep.data.listing import IMAGE_SUFFIXES, case_hint, check_name, counted, files_below, is_image_file, lines
from segsweep.errors import UserError

SPLITS = ("train", "val", "test")
SPLIT_FOLDERS = {"training": "train", "valid": "val", "validation": "val", **{split: split for split in SPLITS}}
EXPECTED = "expected images/, masks/ and classes.txt, or a COCO file"


@dataclass(frozen=True)
class Folder:
    """Reader for one folder of images and masks."""

    folder: Path
    name: str
    fit: ClassVar[Fit] = "resize"
    protocols: ClassVar[Mapping[str, Division]] = {}

    @cached_property
    def schemes(self) -> Mapping[str, Sequence[str]]:
        """One scheme: the classes of `classes.txt`; no classes for an unlabelled folder."""
        path = self.folder / "classes.txt"
        if not path.is_file() and not (self.folder / "masks").is_dir():
            return {"unlabelled": ()}
        if not path.is_file():
            hint = case_hint(path)
            raise UserError(f"{self.name}: {path} is missing; expected images/, masks/ and classes.txt, one class per line{hint}")
        return {"all": read_classes(path)}

    @property
    def pool(self) -> Sequence[str]:
        """All splits, with and without lists."""
        return SPLITS

    @cached_property
    def _images(self) -> dict[str, Path]:
        folder = self.folder / "images"
        if not folder.is_dir():
            if self.folder.is_dir() and not any((self.folder / part).exists() for part in ("classes.txt", "masks")):
                hint = case_hint(folder)
                raise UserError(f"{self.name}: {self.folder} holds neither images/ nor a COCO file; {EXPECTED}{hint}")
            raise UserError(f"{self.name}: folder {folder} is missing; {EXPECTED}{case_hint(folder)}")
        images = self._by_name("images", "one mask cannot serve two images")
        if not images:
            raise UserError(f"{self.name}: folder {folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
        return images

    @cached_property
    def _masks(self) -> dict[str, Path]:
        return self._by_name("masks", "one image cannot have two masks")

    def _by_name(self, part: str, why: str) -> dict[str, Path]:
        """Return the images of a part of the folder by name. Raises `UserError` for two of one name."""
        found: dict[str, Path] = {}
        for path in filter(is_image_file, files_below(self.folder / part)):
            name = path.relative_to(self.folder / part).with_suffix("").as_posix()
            if name in found:
                raise UserError(f"{path}: {found[name].name} has the same name; {why}")
            found[name] = path
        return found

    @cached_property
    def _groups(self) -> dict[str, str]:
        path = self.folder / "groups.csv"
        return read_groups(path, self._images) if path.is_file() else {}

    def _lists(self) -> dict[str, Path]:
        return {split: self.folder / f"{split}.txt" for split in SPLITS if (self.folder / f"{split}.txt").is_file()}

    def examples(self) -> list[Example]:
        """Return every image in the order of names, or the images of the lists. Raises `UserError` for a missing mask."""
        check_name(self.folder)
        found = self._listed() if self._lists() else self._everything()
        if self.schemes.get("all"):
            self._check_masks(found)
        return found

    def _everything(self) -> list[Example]:
        """Return every image: in the split that its folder is named after if all folders are, otherwise in `train`."""
        tops = {name: name.partition("/")[0].casefold() if "/" in name else "" for name in self._images}
        divided = all(top in SPLIT_FOLDERS for top in tops.values())
        return [self._example(name, SPLIT_FOLDERS[tops[name]] if divided else "train") for name in self._images]

    def _listed(self) -> list[Example]:
        found: dict[str, Example] = {}
        for split, path in self._lists().items():
            for line in lines(path):
                name = self._named(line)
                if name is None and line.startswith(COMMENT):
                    continue
                if name is None:
                    raise UserError(f"{path}: names {line!r}, but {self.folder / 'images'} has no such image")
                if name in found:
                    raise UserError(f"{path}: names {line!r}, which {found[name].split}.txt names too; an image has one split")
                found[name] = self._example(name, split)
        return list(found.values())

    def _named(self, line: str) -> str | None:
        """Return the name of the image that a line of a list names, perhaps with a suffix or a folder; None if there is none."""
        path = Path(line)
        stem = path.with_suffix("").as_posix() if path.suffix.lower() in IMAGE_SUFFIXES else line
        return next((name for name in (stem, stem.removeprefix("images/"), Path(stem).name) if name in self._images), None)

    def _example(self, name: str, split: str) -> Example:
        mask = self._masks.get(name) if self.schemes.get("all") else None
        return Example(name, self._images[name], mask, split, group=self._groups.get(name))

    def _check_masks(self, examples: Sequence[Example]) -> None:
        """Raise `UserError` if images lack a mask; it names the first one, and a mask that may belong to it."""
        missing = [example for example in examples if example.mask is None]
        if not missing:
            return
        first = self.folder / "masks" / f"{missing[0].name}.png"
        if not first.parent.is_dir():
            hint = f"; folder {first.parent} is missing{case_hint(first.parent)}"
        elif not (hint := case_hint(first)) and (spare := self._spare_masks()):
            hint = f"; {spare[0]} has no image: give a mask the name of its image"
        more = f", nor have {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{missing[0].image}: has no mask{more}; expected {first}, with class numbers{hint}")

    def _spare_masks(self) -> list[Path]:
        return [path for name, path in self._masks.items() if name not in self._images]

    def files(self) -> list[Path]:
        """Return the paths of the class names, groups, lists, images and masks."""
        names = [self.folder / "classes.txt"] if self.schemes.get("all") else []
        names += [self.folder / "groups.csv"] if self._groups else []
        return [*names, *self._lists().values(), *pair_files(self.examples())]

    def remarks(self) -> list[str]:
        """Return a line for each kind of unused file in the folder; hidden files are skipped."""
        listed = {example.name for example in self.examples()}
        unlisted = [name for name in self._images if name not in listed]
        used = {*self._images.values(), *self._masks.values(), *self.files()}
        others = [path for path in files_below(self.folder) if path not in used]
        return [
            *counted(unlisted, self.folder, "image is in no list and not used", "images are in no list and not used"),
            *counted(
                self._spare_masks(), self.folder, "mask has no image and is not used", "masks have no image and are not used"
            ),
            *counted(others, self.folder, "file is not used", "files are not used"),
        ]

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "folder 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:
        """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8; (0, 0) without masks."""
        assert example.image is not None
        if example.mask is None:
            return open_levels(example.image), np.empty((0, 0), np.uint8)
        check_same_way_up(example.image, example.mask)
        values = {value: value for value in range(len(self.schemes[scheme]))} | {255: IGNORE}
        return read_pair(example.image, example.mask, values)
