"""`folder:PATH` with a COCO file of any categories instead of masks, as exported by CVAT, Label Studio, Roboflow and others.

A COCO file is a JSON file with `images`, `annotations` and `categories`. It lies in the folder itself, in `annotations/`, or
beside its images in a folder per split (`train/`, `valid/`, `test/`); a split in the name of the file or of its folder is the
split of its images. The reader searches for an image beside its file, in `images/`, and in the folder. The classes are the
background (the category of that name, if there is one) and the categories in the order of their numbers. Objects are drawn from
large to small, by `area` or, without it, by the number of pixels that they cover. An object that is marked as a crowd has its
class, since tools mark brush strokes this way. Objects that have only a box are refused: a box is not a mask.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from segsweep.config.class_name import BACKGROUND, is_background
from segsweep.data.class_list import check_alike
from segsweep.data.coco import CORNERS, region
from segsweep.data.dataset import IGNORE, Division, Example, Fit, Levels, Pixels
from segsweep.data.image_files import open_levels, turns_alike
from segsweep.data.listing import check_name, counted, files_below, is_image_file
from segsweep.errors import UserError

KEYS = ("images", "annotations", "categories")
SPLIT_WORDS = {"training": "train", "train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}
NO_HEADING = (None, "", "none")  # values of `supercategory` that mean none
SPLIT = re.compile(rf"(?<![a-z])({'|'.join(SPLIT_WORDS)})(?![a-z])")
SUBSET = "instances_"  # prefix of CVAT's file names; the name of the subset follows, whose folder holds the images


@dataclass(frozen=True)
class _File:
    """The content of one COCO file: categories by number, images in the file's order, and objects by image id."""

    path: Path
    categories: Mapping[int, Mapping[str, Any]]
    images: Sequence[Mapping[str, Any]]
    objects: Mapping[int, Sequence[Mapping[str, Any]]]

    @property
    def split(self) -> str:
        """The split in the name of the file, or in that of its folder; `train` if neither names one."""
        words = [found for text in (self.path.parent.name, self.path.stem) for found in SPLIT.findall(text.casefold())]
        return SPLIT_WORDS[words[-1]] if words else "train"


@dataclass(frozen=True)
class CocoFolder:
    """Reader for one folder with COCO files and their images."""

    folder: Path
    name: str
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = ("train", "val", "test")
    protocols: ClassVar[Mapping[str, Division]] = {}

    @cached_property
    def _files(self) -> list[_File]:
        return [_load(path) for path in coco_files(self.folder)]

    @cached_property
    def schemes(self) -> Mapping[str, Sequence[str]]:
        """One scheme: the background, then the categories in the order of their numbers."""
        path = self._files[0].path
        named: dict[str, str] = {}
        for file in self._files:
            check_alike(file.path, ((f"category {number}", each["name"]) for number, each in sorted(file.categories.items())))
            for number, each in sorted(file.categories.items()):
                named.setdefault(each["name"], f"category {number} of {file.path.name}")
        check_alike(path, ((label, name) for name, label in named.items()))
        names = [name for name in named if name not in self._headings]
        background = next(filter(is_background, names), BACKGROUND)
        classes = (background, *(name for name in names if name != background))
        if not 2 <= len(classes) <= IGNORE:
            raise UserError(f"{path}: names {len(names)} categories; needs 1 to {IGNORE - 1} besides the background")
        return {"all": classes}

    @cached_property
    def _headings(self) -> set[str]:
        """Categories that only group others, as Roboflow adds one, and are no classes: they have subcategories and no objects."""
        above = {each.get("supercategory") for file in self._files for each in file.categories.values()}
        used = {
            file.categories[item["category_id"]]["name"]
            for file in self._files
            for items in file.objects.values()
            for item in items
        }
        tops = [each for file in self._files for each in file.categories.values() if each.get("supercategory") in NO_HEADING]
        return {each["name"] for each in tops if each["name"] in above - used and not is_background(each["name"])}

    @cached_property
    def _listed(self) -> dict[str, tuple[_File, Mapping[str, Any], Path]]:
        """Every image by its name in this dataset: the COCO file that lists it, its entry there, and its path."""
        found: dict[str, tuple[_File, Mapping[str, Any], Path]] = {}
        for file in self._files:
            for listed in file.images:
                path = self._find(file, listed["file_name"])
                check_name(path)
                name = path.relative_to(self.folder).as_posix().removeprefix("images/")
                if name in found:
                    raise UserError(f"{file.path}: names {listed['file_name']!r}, which {found[name][0].path} names already")
                found[name] = file, listed, path
        return found

    def _find(self, file: _File, file_name: str) -> Path:
        """Return the path of an image. Raises `UserError` if it is not found. Paths out of the folder are not followed."""
        parts = PurePosixPath(file_name.replace("\\", "/"))
        inside = not parts.is_absolute() and ".." not in parts.parts
        subset = file.path.stem.removeprefix(SUBSET)
        folders = [file.path.parent, file.path.parent / "images", self.folder / "images" / subset, self.folder / "images"]
        folders += [self.folder / subset, self.folder]
        for name in dict.fromkeys([str(parts)] * inside + [parts.name]):
            for folder in folders:
                if (folder / name).is_file():
                    return folder / name
        raise UserError(f"{file.path}: names {file_name!r}, which is not found beside it, nor in {self.folder / 'images'}")

    def examples(self) -> list[Example]:
        """Return every image that a COCO file lists, including images without objects."""
        check_name(self.folder)
        return [Example(name, path, split=file.split) for name, (file, _, path) in sorted(self._listed.items())]

    def files(self) -> list[Path]:
        """Return the paths of the COCO files and images."""
        return [*(file.path for file in self._files), *(path for _, _, path in self._listed.values())]

    def remarks(self) -> list[str]:
        """Return a line for each kind of unused file in the folder, for unused categories, and for images without objects."""
        headings = [f"categories that have subcategories and no objects are not classes: {', '.join(sorted(self._headings))}"]
        bare = [name for name, (file, listed, _) in self._listed.items() if not file.objects.get(listed["id"])]
        used = set(self.files())
        others = [path for path in files_below(self.folder) if path not in used]
        images = [path for path in others if is_image_file(path)]
        return [
            *(headings if self._headings else []),
            *counted(
                bare,
                self.folder,
                "image has no objects, so all of it is background",
                "images have no objects, so all of them are background",
            ),
            *counted(images, self.folder, "image is in no COCO file and not used", "images are in no COCO file and not used"),
            *counted([path for path in others if not is_image_file(path)], self.folder, "file is not used", "files are not used"),
        ]

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "coco folder 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:
        """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8.

        The image's size in the COCO file decides whether it is read as stored or rotated by its EXIF. Raises `UserError` if the
        sizes differ, if the size does not decide, and for objects that cannot be drawn.
        """
        file, listed, path = self._listed[example.name]
        image = open_levels(path)
        size = (int(listed.get("width") or image.shape[1]), int(listed.get("height") or image.shape[0]))
        if image.shape[1::-1] != size:
            image = open_levels(path, as_shown=False)
        elif not turns_alike(path, size):
            raise UserError(
                f"{path}: its EXIF asks for a rotation, and its size in {file.path} does not show whether its objects are "
                "drawn on the rotated image; save it upright, without EXIF rotation (mogrify -auto-orient)"
            )
        if image.shape[1::-1] != size:
            found = f"{image.shape[1]}x{image.shape[0]}"
            raise UserError(f"{path}: image is {found} but {file.path} states {size[0]}x{size[1]}")
        numbers = {number: self.schemes[scheme].index(each["name"]) for number, each in self._classes(file).items()}
        try:
            return image, _draw(file.objects.get(listed["id"], ()), numbers, image.shape)
        except Exception as error:  # pycocotools raises no narrower type
            raise UserError(f"{file.path}: objects of image {listed['file_name']} cannot be drawn: {error!r}") from None

    def _classes(self, file: _File) -> dict[int, Mapping[str, Any]]:
        """Return the categories of a file that are classes."""
        return {number: each for number, each in file.categories.items() if each["name"] not in self._headings}


def _draw(objects: Sequence[Mapping[str, Any]], numbers: Mapping[int, int], shape: tuple[int, ...]) -> Pixels:
    """Return the mask (H, W), uint8, of an image's objects, drawn from large to small."""
    mask = np.zeros(shape[:2], dtype=np.uint8)
    drawn = [(region(item["segmentation"], shape) > 0, item) for item in objects]
    for where, item in sorted(drawn, key=lambda each: -float(each[1].get("area") or each[0].sum())):
        mask[where] = numbers[item["category_id"]]
    return mask


def coco_files(folder: Path) -> list[Path]:
    """Return the COCO files of a folder by name: JSON files in it, in `annotations/`, and in folders named like a split."""
    folders = [folder, folder / "annotations", *(folder / split for split in SPLIT_WORDS)]
    paths = sorted({path for each in folders if each.is_dir() for path in each.iterdir() if path.suffix.lower() == ".json"})
    return [path for path in paths if not path.name.startswith(".") and _has_keys(path)]


def _has_keys(path: Path) -> bool:
    """Return whether a JSON file looks like a COCO file. It is searched as text, since parsing half a gigabyte is slow."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return all(f'"{key}"'.encode() in content for key in KEYS)


def _load(path: Path) -> _File:
    """Return the content of a COCO file.

    Raises `UserError`, which names the file, if it is not a COCO file, if ids or names are not unique or unknown, and for objects
    without an outline.
    """
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
        images, annotations, categories = (content[key] for key in KEYS)
        images = [{**each, "id": str(each["id"])} for each in images]
        annotations = [_regular(item) for item in annotations]
        twice = [number for number, count in Counter(int(each["id"]) for each in categories).items() if count > 1]
        named = {int(each["id"]): {**each, "name": str(each["name"]).strip()} for each in categories}
        names = {each["id"]: str(each["file_name"]) for each in images}
        objects = defaultdict(list)
        for item in annotations:
            objects[item["image_id"]].append(item)
        unmatched = _unmatched(annotations, names, named)
        boxes = [item for item in annotations if not _outlined(item.get("segmentation"))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is not a COCO file of images, annotations and categories: {error!r}") from None
    if twice or len(names) < len(images):
        raise UserError(f"{path}: two {'categories' if twice else 'images'} have the same id; give each a different one")
    by_name: dict[str, int] = {}
    for number, each in named.items():
        if by_name.setdefault(each["name"], number) != number:
            both = f"categories {by_name[each['name']]} and {number}"
            raise UserError(f"{path}: {both} are both called {each['name']!r}; give each a different name")
    if unmatched:
        raise UserError(f"{path}: {unmatched}, which the file does not list; export it again, or remove the object")
    if boxes:
        first = f"object {boxes[0].get('id')} of {names[boxes[0]['image_id']]!r}"
        raise UserError(
            f"{path}: {len(boxes)} of {len(annotations)} objects have a box and no outline (the first: {first}), and a box is "
            "not a mask; export polygons or masks instead, or remove these objects"
        )
    return _File(path, named, images, dict(objects))


def _regular(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object whose image id is a string, whose category id is an integer, and whose polygons are in a list."""
    outline = item.get("segmentation")
    single = isinstance(outline, list) and bool(outline) and not isinstance(outline[0], list)
    numbers = {"image_id": str(item["image_id"]), "category_id": int(item["category_id"])}
    return {**item, **numbers, "segmentation": [outline] if single else outline}


def _unmatched(annotations: Sequence[Mapping[str, Any]], images: Mapping[Any, Any], categories: Mapping[Any, Any]) -> str | None:
    """Return a description of the first object whose image or category is unknown; None if there is no such object."""
    for item in annotations:
        for what, known in (("image", images), ("category", categories)):
            if item[f"{what}_id"] not in known:
                return f"object {item.get('id')} belongs to {what} {item[f'{what}_id']}"
    return None


def _outlined(segmentation: Any) -> bool:
    """Return whether an object has a polygon or run lengths."""
    if isinstance(segmentation, Mapping):
        return bool(segmentation.get("counts"))
    return isinstance(segmentation, list) and any(len(polygon) >= 2 * CORNERS for polygon in segmentation)
