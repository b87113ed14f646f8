"""Small datasets in the official layouts, written by the tests themselves."""

import json
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segsweep.data.coco import CLASSES
from segsweep.store.folder import FolderStore

PALETTE = [level for index in range(256) for level in (index, 255 - index, index // 2)]  # arbitrary colours


class Layouts:
    """Writes images, masks and whole datasets below one folder."""

    def __init__(self, root: Path):
        self.root = root

    def image(self, path: Path, size=(48, 32), seed=0, form="JPEG") -> Path:
        """Write an image of (width, height)."""
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
        """Write pets of two breeds: pet 1 inside a border 3 on background 2; some `.jpg` files are GIF or PNG."""
        folder = self.root / "oxford-iiit-pet"
        names = [f"{('Bengal', 'great_dane')[i % 2]}_{i}" for i in range(trainval + test)]
        for number, name in enumerate(names):
            form = {0: "GIF", 1: "PNG"}.get(number, "JPEG")
            self.image(folder / "images" / f"{name}.jpg", seed=number, form=form)
            trimap = np.full((32, 48), 2, np.uint8)
            trimap[8:24, 8:40] = 3
            trimap[10:22, 10:38] = 1
            self.mask(folder / "annotations" / "trimaps" / f"{name}.png", trimap)
        for split, listed in (("trainval", names[:trainval]), ("test", names[trainval:])):
            lines = ["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids", *(f"{name} 1 1 1" for name in listed)]
            (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
        return folder

    def voc(self, train=4, val=3) -> Path:
        """Write VOC images with one object each, class 1 + number, inside an ignored frame; palette PNGs."""
        root = self.root / "voc" / "VOCdevkit" / "VOC2012"
        names = [f"2007_{number:06d}" for number in range(train + val)]
        for number, name in enumerate(names):
            self.image(root / "JPEGImages" / f"{name}.jpg", seed=number)
            mask = np.zeros((32, 48), np.uint8)
            mask[8:24, 8:40] = 255
            mask[10:22, 10:38] = 1 + number
            self.mask(root / "SegmentationClass" / f"{name}.png", mask, palette=True)
        lists = root / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        (lists / "train.txt").write_text("\n".join(names[:train]) + "\n")
        (lists / "val.txt").write_text("\n".join(names[train:]) + "\n")
        return self.root / "voc"

    def coco(self, objects=None, sizes=((48, 32), (48, 32)), more=0) -> Path:
        """Write COCO with one image per split, `a.jpg` and `b.jpg`; `objects` are those of the first one.

        Each split has `more` further images, without objects.
        """
        folder = self.root / "coco2017"
        (folder / "annotations").mkdir(parents=True)
        categories = [{"id": 3 * number + 5, "name": name} for number, name in enumerate(CLASSES) if number]
        for split, name, size, listed in zip(("train2017", "val2017"), "ab", sizes, (objects or [], []), strict=True):
            self.image(folder / split / f"{name}.jpg", size=size)
            path = {"id": 77, "file_name": f"{name}.jpg", "width": size[0], "height": size[1]}
            annotations = [
                {"id": number, "image_id": 77, "iscrowd": 0, "area": 1.0, **item} for number, item in enumerate(listed)
            ]
            others = [{**path, "id": 78 + number, "file_name": f"{name}{number}.jpg"} for number in range(more)]
            for number, other in enumerate(others):
                self.image(folder / split / other["file_name"], size=size, seed=1 + number)
            content = {"images": [path, *others], "annotations": annotations, "categories": categories}
            (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        return folder

    def pair(self, path: Path, mask: Path, value: int, outside=0, form="JPEG", bits=8) -> None:
        """Write an image and a mask that has one value in its middle and another outside."""
        self.image(path, form=form, seed=zlib.crc32(path.name.encode()))
        numbers = np.full((32, 48), outside, np.uint8 if bits == 8 else np.uint16)
        numbers[10:22, 10:38] = value
        self.mask(mask, numbers)

    def cityscapes(self, train=3, val=2) -> Path:
        """Write Cityscapes: labelIds in 8 and in 16 bits, label 7 (road) outside and 24, 25 ... in the middle."""
        folder = self.root / "cityscapes"
        for number in range(train + val):
            split, city = ("train", "aachen" if number < 2 else "zürich") if number < train else ("val", "münster")
            name = f"{city}_{number:06d}_000019"
            path = folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
            mask = folder / "gtFine" / split / city / f"{name}_gtFine_labelIds.png"
            self.pair(path, mask, 24 + number, outside=7, form="PNG", bits=16 if number == 1 else 8)
            (mask.parent / f"{name}_gtFine_polygons.json").write_text("{}")
        return folder

    def isic2018(self, **counts: int) -> Path:
        """Write ISIC 2018 Task 1, by default three images of the official training part."""
        folder = self.root / "isic2018"
        for part, count in (counts or {"Training": 3}).items():
            inputs, masks = folder / f"ISIC2018_Task1-2_{part}_Input", folder / f"ISIC2018_Task1_{part}_GroundTruth"
            for number in range(count):
                name = f"ISIC_{part}{number:07d}"
                self.pair(inputs / f"{name}.jpg", masks / f"{name}_segmentation.png", 255)
            (inputs / "ATTRIBUTION.txt").write_text("x")
        return folder

    def mas3k(self, train=("Arthropod_Crab_Cam", "MarineFish_SeaHorse_Com", "Arthropod_Crab_Com"), test=("Other_StarFish_Com",)):
        """Write MAS3K with images of these kinds."""
        folder = self.root / "mas3k"
        for split, kinds in (("train", train), ("test", test)):
            for number, kind in enumerate(kinds):
                name = f"MAS_{kind}_{number + 1}"
                self.pair(folder / split / "Image" / f"{name}.jpg", folder / split / "Mask" / f"{name}.png", 255)
        return folder

    def ade20k(self, train=3, val=2) -> Path:
        """Write ADE20K: 0 (other) outside, 1, 2 ... in the middle, the last one 150."""
        folder = self.root / "ade20k"
        below = folder / "ADEChallengeData2016"
        for number in range(train + val):
            part, short = ("training", "train") if number < train else ("validation", "val")
            name = f"ADE_{short}_{number:08d}"
            value = 150 if number == train + val - 1 else number + 1
            self.pair(below / "images" / part / f"{name}.jpg", below / "annotations" / part / f"{name}.png", value)
        return folder

    def camvid(self) -> Path:
        """Write CamVid in the layout of the SegNet tutorial: 11 (unlabelled) outside, 0, 5 and 10 in the middle."""
        folder = self.root / "camvid"
        for split, value in (("train", 0), ("val", 5), ("test", 10)):
            name = f"0001TP_{value:06d}.png"
            self.pair(folder / split / name, folder / f"{split}annot" / name, value, outside=11, form="PNG")
        return folder

    def cifar10(self, count=4, protocol=2) -> Path:
        """Write CIFAR-10's six batches; in each, image n shows kind n, and is n red, 100 + n green and 200 + n blue."""
        folder = self.root / "cifar10" / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        planes = np.array([[number, 100 + number, 200 + number] for number in range(count)], np.uint8)
        content = {b"data": np.repeat(planes, 1024, axis=1), b"labels": list(range(count)), b"batch_label": b"one"}
        for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
            (folder / name).write_bytes(pickle.dumps(content, protocol))
        return folder.parent

    def cats_dogs(self, flat=False, count=3) -> Path:
        """Write photographs of cats and dogs: in folders, the last of each as test images, or in one folder like Kaggle's."""
        folder = self.root / "cats_dogs"
        for number in range(count):
            for kind in ("cat", "dog"):
                below = "train" if flat else f"{'test' if number == count - 1 else 'train'}/{kind}s"
                self.image(folder / below / f"{kind}.{number}.jpg", seed=number)
        if flat:
            self.image(folder / "test1" / "1.jpg")
        return folder

    def plain(self, count=6, name="mine", classes="background\ncar\nsign\n", **lists: str) -> Path:
        """Write a user's folder with `classes.txt` and the given lists by split."""
        folder = self.root / name
        for number in range(count):
            self.image(folder / "images" / f"p{number}.jpg", seed=number)
            mask = np.zeros((32, 48), np.uint8)
            mask[4:20, 4:30] = 1 + number % 2
            mask[0] = 255
            self.mask(folder / "masks" / f"p{number}.png", mask)
        folder.mkdir(exist_ok=True)
        (folder / "classes.txt").write_text(classes)
        for split, text in lists.items():
            (folder / f"{split}.txt").write_text(text)
        return folder

    def photos(self, count=6) -> Path:
        """Write a user's folder with only images."""
        for number in range(count):
            self.image(self.root / "photos" / "images" / f"p{number}.jpg", seed=number)
        return self.root / "photos"

    def exported(self, count=6) -> Path:
        """Write a user's folder with a COCO file: a rectangle of class 1 or 2 in each image, listed in reverse order."""
        folder, corners = self.root / "exported", [4, 4, 30, 4, 30, 20, 4, 20]
        images = [{"id": number, "file_name": f"p{number}.jpg", "width": 48, "height": 32} for number in reversed(range(count))]
        objects = [
            {"id": number, "image_id": number, "category_id": 1 + number % 2, "segmentation": [corners]}
            for number in range(count)
        ]
        for number, image in enumerate(images):
            self.image(folder / "images" / image["file_name"], seed=number)
        categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "sign"}]
        (folder / "labels.json").write_text(json.dumps({"images": images, "annotations": objects, "categories": categories}))
        return folder


@pytest.fixture
def layouts(tmp_path):
    """A writer of datasets below `tmp_path`."""
    return Layouts(tmp_path)


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return FolderStore(tmp_path / "store")


@pytest.fixture
def quiet():
    """A progress that shows nothing."""
    return lambda *_: None
