"""COCO 2017 instances (Lin et al. 2014) as semantic masks of 80 classes and background.

Official layout: `{train2017,val2017}/*.jpg`, `annotations/instances_{train2017,val2017}.json`. Smaller objects are drawn on top
of larger ones; crowd regions are ignored unless an object covers them.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pycocotools import mask as run_length

from segsweep.data.dataset import IGNORE, Division, Example, Fit, Levels, Pixels
from segsweep.data.image_files import open_levels
from segsweep.errors import UserError

CLASSES = (
    "background", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear",
    "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball",
    "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup",
    "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza",
    "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote",
    "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
SPLITS = ("train2017", "val2017")
IMAGE_KEYS = ("id", "width", "height")
FAR = 10  # times the longer side of the image
CORNERS = 3  # fewest corners of a polygon with an area


@dataclass(frozen=True)
class _Annotations:
    """The content of one annotation file: images by name, objects by image id, and class numbers by category id."""

    images: dict[str, dict[str, Any]]
    objects: dict[int, list[dict[str, Any]]]
    class_of: dict[int, int]


@dataclass(frozen=True)
class Coco2017:
    """Reader for one folder in the official layout. Classes are identified by name, so their ids may have gaps."""

    folder: Path
    name: str = "coco"
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = ("train", "val")
    protocols: ClassVar[Mapping[str, Division]] = {}
    schemes: ClassVar[Mapping[str, Sequence[str]]] = {"all": CLASSES}

    def _file(self, split: str) -> Path:
        return self.folder / "annotations" / f"instances_{split}.json"

    @cached_property
    def _annotations(self) -> dict[str, _Annotations]:
        return {split: self._load(split) for split in SPLITS}

    def _load(self, split: str) -> _Annotations:
        path = self._file(split)
        if not path.is_file():
            raise UserError(f"{self.name}: {path} is missing; expected the official layout of COCO 2017")
        try:
            content = json.loads(path.read_bytes())
            class_of = {category["id"]: CLASSES.index(category["name"]) for category in content["categories"]}
            objects = defaultdict(list)
            for item in content["annotations"]:
                objects[item["image_id"]].append(item)
            images = {entry["file_name"]: {key: entry[key] for key in IMAGE_KEYS} for entry in content["images"]}
            return _Annotations(images, dict(objects), class_of)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is not a COCO instances file: {error!r}") from None

    def examples(self) -> list[Example]:
        """Return every image of both annotation files, including images without objects."""
        return [
            Example(f"{split}/{name}", self.folder / split / name, split=split.removesuffix("2017"))
            for split in SPLITS
            for name in sorted(self._annotations[split].images)
        ]

    def files(self) -> list[Path]:
        """Return the paths of the annotation files and images."""
        return [*map(self._file, SPLITS), *(example.image for example in self.examples() if example.image)]

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "coco 1"

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:  # noqa: ARG002
        """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8."""
        assert example.image is not None
        image = open_levels(example.image, as_shown=False)  # annotations refer to the rows and columns as stored
        split, _, name = example.name.partition("/")
        annotations = self._annotations[split]
        entry = annotations.images[name]
        if image.shape[:2] != (entry["height"], entry["width"]):
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise UserError(f"{example.image}: image is {size} but {self._file(split)} states {entry['width']}x{entry['height']}")
        try:
            return image, _draw(annotations.objects.get(entry["id"], []), annotations.class_of, image.shape)
        except Exception as error:  # pycocotools raises no narrower type
            raise UserError(f"{self._file(split)}: objects of image {name} cannot be drawn: {error!r}") from None


def _draw(objects: list[dict[str, Any]], class_of: dict[int, int], shape: tuple[int, ...]) -> Pixels:
    """Return the mask (H, W), uint8, of an image's objects: first crowds, as ignored, then objects from large to small."""
    mask = np.zeros(shape[:2], dtype=np.uint8)
    for item in sorted(objects, key=lambda item: (not item["iscrowd"], -item["area"], item["id"])):
        mask[region(item["segmentation"], shape) > 0] = IGNORE if item["iscrowd"] else class_of[item["category_id"]]
    return mask


def region(segmentation: Any, shape: tuple[int, ...]) -> Pixels:
    """Return the region of an object, (H, W) uint8 of 0 and 1, from polygons, run lengths, or compressed run lengths.

    `shape` is that of the image, (H, W) or (H, W, 3). Raises `ValueError` for a corner far outside the image.
    """
    height, width = shape[:2]
    if isinstance(segmentation, list):
        # pycocotools would read a polygon of two corners, and all polygons after it, as boxes
        polygons = [polygon for polygon in segmentation if len(polygon) >= 2 * CORNERS]
        farthest = max((abs(float(number)) for polygon in polygons for number in polygon), default=0.0)
        if not farthest <= FAR * max(height, width):  # the time and memory of drawing grow with the length of the sides
            raise ValueError(f"a corner of its polygon lies at {farthest:g}, far outside the image")
        if not polygons:
            return np.zeros((height, width), dtype=np.uint8)
        encoded = run_length.merge(run_length.frPyObjects(polygons, height, width))
    elif isinstance(segmentation["counts"], list):
        encoded = run_length.frPyObjects(segmentation, height, width)
    else:
        encoded = segmentation
    region: Pixels = run_length.decode(encoded)
    return region
