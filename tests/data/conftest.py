"""Small data sets in the official layouts, written by the tests themselves."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segsweep.data.coco import CLASSES
from segsweep.store.folder import Store

PALETTE = [level for index in range(256) for level in (index, 255 - index, index // 2)]  # colours that tell nothing


class Layouts:
    """Writes pictures, masks and whole data sets below one folder."""

    def __init__(self, root: Path):
        self.root = root

    def picture(self, path: Path, size=(48, 32), seed=0, form="JPEG") -> Path:
        """Write a picture of (width, height)."""
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(levels).save(path, form)
        return path

    def mask(self, path: Path, numbers: np.ndarray, palette=False, **options) -> Path:
        """Write class numbers (H, W), as grey values or as palette indices."""
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(numbers)
        if palette:
            image.putpalette(PALETTE)
        image.save(path, "PNG", **options)
        return path

    def pets(self, trainval=12, test=4) -> Path:
        """Write pets of two breeds: pet 1 in a frame of border 3, background 2; GIF and PNG among the `.jpg` files."""
        folder = self.root / "oxford-iiit-pet"
        names = [f"{('Bengal', 'great_dane')[i % 2]}_{i}" for i in range(trainval + test)]
        for number, name in enumerate(names):
            form = {0: "GIF", 1: "PNG"}.get(number, "JPEG")
            self.picture(folder / "images" / f"{name}.jpg", seed=number, form=form)
            trimap = np.full((32, 48), 2, np.uint8)
            trimap[8:24, 8:40] = 3
            trimap[10:22, 10:38] = 1
            self.mask(folder / "annotations" / "trimaps" / f"{name}.png", trimap)
        for split, listed in (("trainval", names[:trainval]), ("test", names[trainval:])):
            lines = ["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids", *(f"{name} 1 1 1" for name in listed)]
            (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
        return folder

    def voc(self, train=4, val=3) -> Path:
        """Write VOC pictures with one object each, class 1 + number, inside an ignored frame; palette PNGs."""
        root = self.root / "voc" / "VOCdevkit" / "VOC2012"
        names = [f"2007_{number:06d}" for number in range(train + val)]
        for number, name in enumerate(names):
            self.picture(root / "JPEGImages" / f"{name}.jpg", seed=number)
            mask = np.zeros((32, 48), np.uint8)
            mask[8:24, 8:40] = 255
            mask[10:22, 10:38] = 1 + number
            self.mask(root / "SegmentationClass" / f"{name}.png", mask, palette=True)
        lists = root / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        (lists / "train.txt").write_text("\n".join(names[:train]) + "\n")
        (lists / "val.txt").write_text("\n".join(names[train:]) + "\n")
        return self.root / "voc"

    def coco(self, objects=None, sizes=((48, 32), (48, 32))) -> Path:
        """Write COCO with one picture per split, `a.jpg` and `b.jpg`; `objects` are those of the first one."""
        folder = self.root / "coco2017"
        (folder / "annotations").mkdir(parents=True)
        categories = [{"id": 3 * number + 5, "name": name} for number, name in enumerate(CLASSES) if number]
        for split, name, size, listed in zip(("train2017", "val2017"), "ab", sizes, (objects or [], []), strict=True):
            self.picture(folder / split / f"{name}.jpg", size=size)
            picture = {"id": 77, "file_name": f"{name}.jpg", "width": size[0], "height": size[1]}
            annotations = [
                {"id": number, "image_id": 77, "iscrowd": 0, "area": 1.0, **item} for number, item in enumerate(listed)
            ]
            content = {"images": [picture], "annotations": annotations, "categories": categories}
            (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        return folder

    def plain(self, count=6, name="mine", classes="background\ncar\nsign\n", **lists: str) -> Path:
        """Write a user's own folder, with `classes.txt` and the lists that are given by split."""
        folder = self.root / name
        for number in range(count):
            self.picture(folder / "images" / f"p{number}.jpg", seed=number)
            mask = np.zeros((32, 48), np.uint8)
            mask[4:20, 4:30] = 1 + number % 2
            mask[0] = 255
            self.mask(folder / "masks" / f"p{number}.png", mask)
        (folder / "classes.txt").write_text(classes)
        for split, text in lists.items():
            (folder / f"{split}.txt").write_text(text)
        return folder


@pytest.fixture
def layouts(tmp_path):
    """A writer of data sets below `tmp_path`."""
    return Layouts(tmp_path)


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "store")


@pytest.fixture
def quiet():
    """A progress that shows nothing."""
    return lambda *_: None
