"""Identical images lie on one side of a split, whatever their names, folders and formats."""

import shutil
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segsweep.data.dataset import Example
from segsweep.data.duplicates import conflicting, official_remarks, repetitions, shared_images
from segsweep.data.folder import Folder
from segsweep.data.identity import OF_FILE, OF_PIXELS, image_identity
from segsweep.data.prepare import DataSpec, prepare
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_source, split_target
from segsweep.errors import UserError

PX = 16


@dataclass
class Written:
    """A folder dataset that is written image by image; image `number` is a function of that number."""

    folder: Path
    splits: dict[str, list[str]] = field(default_factory=dict)

    def add(self, number: int, split: str = "train", form: str = "png", turned: bool = False, mask: int | None = None) -> str:
        name = f"{split}{sum(map(len, self.splits.values())):03d}"
        for part in ("images", "masks"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8))
        exif = Image.Exif()
        if turned:
            image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
        image.save(self.folder / "images" / f"{name}.{form}", exif=exif)
        drawn = np.zeros((20, 20), np.uint8)
        drawn[: 5 + (number if mask is None else mask) % 10] = 1
        labels = Image.fromarray(drawn)
        if turned:
            labels = labels.transpose(Image.Transpose.ROTATE_90)
        labels.save(self.folder / "masks" / f"{name}.png", exif=exif)
        self.splits.setdefault(split, []).append(name)
        return name

    def prepared(self, store, quiet, image_px: int = PX) -> Prepared:
        (self.folder / "classes.txt").write_text("background\nthing\n")
        for split, names in self.splits.items():
            (self.folder / f"{split}.txt").write_text("\n".join(names))
        return prepare(DataSpec(Folder(self.folder, self.folder.name), None, image_px), store, quiet)


@pytest.fixture
def written(tmp_path):
    return Written(tmp_path / "mine")


def names(data: Prepared, members) -> list[str]:
    return [data.names[int(member)] for member in members]


def test_a_copy_stays_in_the_later_split(written, store, quiet):
    """Of three copies in train, val and test, the one in test stays; of two in train and val, the one in val."""
    for split, drawn in {"train": [1, 2, 3, 4], "val": [1, 2, 5, 6], "test": [1, 7, 8]}.items():
        for number in drawn:
            written.add(number, split)
    split = split_target(data := written.prepared(store, quiet), "official")
    assert names(data, split.train) == ["train002", "train003"]
    assert names(data, split.val) == ["val005", "val006", "val007"]
    assert names(data, split.test) == ["test008", "test009", "test010"]
    assert names(data, split.train_copies) == ["train000", "train001"]
    assert names(data, split.val_copies) == ["val004"]
    assert split.dropped == 3


@pytest.mark.parametrize(
    ("protocol", "share"), [("60-20-20", None), ("official", None), ("holdout-20", None), ("holdout-20", 0.5), ("50-25-25", None)]
)
def test_no_image_is_on_two_sides(written, store, quiet, protocol, share):
    """Under every protocol, no original is in two parts, and the test split keeps all its images."""
    for number in range(60):
        written.add(number % 40, ("train", "val", "test")[number % 3])
    data = written.prepared(store, quiet)
    split = split_target(data, protocol, share)
    published = split_target(data, protocol, share, leakage="report")
    content = {name: (written.folder / "images" / f"{name}.png").read_bytes() for name in data.names}
    parts = [{content[name] for name in names(data, part)} for part in (split.train, split.val, split.test)]
    assert not parts[0] & (parts[1] | parts[2])
    assert not parts[1] & parts[2]
    assert np.array_equal(split.test, published.test)
    assert split.dropped > 0 == published.dropped
    kept = np.concatenate([split.train, split.train_copies])
    assert np.array_equal(np.sort(kept), published.train)
    assert np.array_equal(published.train_copies, split.train_copies)


@pytest.mark.parametrize(("form", "turned"), [("bmp", False), ("tiff", False), ("webp", False), ("png", True)])
def test_formats_are_compared_by_their_pixels(written, store, quiet, form, turned):
    """Equal pixels in another file format, or rotated with an EXIF tag, are the same image."""
    for number in range(5):
        written.add(number, "train")
    written.add(5, "val")
    if form == "webp":
        name = written.add(0, "test", "png")
        image = Image.open(written.folder / "images" / f"{name}.png")
        image.save(written.folder / "images" / f"{name}.webp", lossless=True, exact=True)
        (written.folder / "images" / f"{name}.png").unlink()
    else:
        written.add(0, "test", form, turned)
    split = split_target(written.prepared(store, quiet), "official")
    assert split.train_copies.tolist() == [0]


def test_copies_in_one_split_are_kept(written, store, quiet):
    """A repetition within a split is not a leak: it stays and is counted."""
    for split, drawn in {"train": [1, 1, 1, 2], "val": [3, 3], "test": [4, 4]}.items():
        for number in drawn:
            written.add(number, split)
    data = written.prepared(store, quiet)
    split = split_target(data, "official")
    assert (len(split.train), len(split.val), len(split.test), split.dropped) == (4, 2, 2, 0)
    assert len(repetitions(data, split.train)) == 2


def test_masks_that_differ_are_found(written, store, quiet):
    """Two identical images are reported for correction if their masks differ, and not if they are equal."""
    for number, mask in ((1, 1), (1, 2), (2, 3), (2, 3)):
        written.add(number, "train", mask=mask)
    data = written.prepared(store, quiet)
    pairs = repetitions(data, np.arange(4))
    assert pairs == [(1, 0), (3, 2)]
    assert conflicting(data, pairs) == [(1, 0)]
    lines = list(official_remarks(data))
    assert "2 train images repeat another train image (train000 = train001, train002 = train003)" in lines
    assert "1 pairs of identical images have different masks (train001 = train000); correct them" in lines


def test_remarks_on_a_dataset_name_pairs(written, store, quiet):
    """The remarks of `prepare` count the images of the later split and name up to three pairs."""
    for split, drawn in {"train": [1, 2, 3, 4, 5], "val": [9], "test": [1, 2, 3, 4]}.items():
        for number in drawn:
            written.add(number, split)
    (line, advice) = official_remarks(written.prepared(store, quiet))
    assert line == (
        "4 test images are identical to train images (test006 = train000, test007 = train001, test008 = train002, ...)"
    )
    assert advice == "a study keeps identical images on one side of its split: test before val before train"


def test_a_training_split_of_copies_is_refused(written, store, quiet):
    """If every training image is a copy, the error is one line."""
    for split, drawn in {"train": [1, 2], "val": [1], "test": [2, 3]}.items():
        for number in drawn:
            written.add(number, split)
    with pytest.raises(
        UserError, match="each of the 2 training images is identical to an image of a later split; remove the copies"
    ):
        split_target(written.prepared(store, quiet), "official")


def test_a_source_keeps_its_copies_out_of_training(written, store, quiet):
    """A source's training image that is also a validation image is left out of training; as published, it stays."""
    for split, drawn in {"train": [1, 2, 3], "val": [1, 4]}.items():
        for number in drawn:
            written.add(number, split)
    data = written.prepared(store, quiet)
    assert split_source(data, None, 0).train.tolist() == [1, 2]
    assert split_source(data, None, 0, leakage="report").train.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("choice", "limit"), [("official", None), ("all", None), ("official", 5), ("all", 7)])
def test_images_that_a_source_excludes_are_in_no_part(written, store, quiet, choice, limit):
    """Excluded images neither train nor validate, for any choice and limit, and the limit is still reached."""
    for number in range(30):
        written.add(number, ("train", "val", "test")[number % 3])
    data = written.prepared(store, quiet)
    without = (0, 1, 2, 3, 12, 20)
    split = split_source(data, limit, 0, choice, without=without)
    assert not {*split.train.tolist(), *split.val.tolist()} & set(without)
    assert len(split.val) > 0
    assert limit is None or len(split.train) == limit


def test_a_source_without_validation_images_left_holds_a_tenth_out(written, store, quiet):
    """If the target uses all of a source's validation images, a tenth of the remaining images validates; no remaining image is an
    error.
    """
    for number in range(24):
        written.add(number, "train" if number < 20 else "val")
    data = written.prepared(store, quiet)
    split = split_source(data, None, 0, without=range(20, 24))
    assert (len(split.train), len(split.val)) == (18, 2)
    with pytest.raises(UserError, match=r"too few .* \(24 are images on which the target validates or tests\)"):
        split_source(data, None, 0, without=range(24))


def test_a_copy_under_other_names_and_sizes_is_shared(written, tmp_path, store, quiet):
    """Images shared with another folder are found by bytes and by pixels, at any prepared size."""
    other = Written(tmp_path / "other")
    for number in range(6):
        written.add(number)
        other.add(number + 4, form="bmp" if number else "png")
    target, source = written.prepared(store, quiet), other.prepared(store, quiet, 2 * PX)
    assert shared_images(source, target, np.arange(6)).tolist() == [0, 1]
    assert shared_images(source, target, np.array([5])).tolist() == [1]
    assert shared_images(source, target, np.arange(4)).tolist() == []


def test_equal_bytes_of_another_shape_are_other_images():
    """Pixels in another height and width are another image, even with equal bytes."""
    wide, high = (np.zeros(shape, np.uint8) for shape in ((4, 9, 3), (9, 4, 3)))
    assert not np.array_equal(*(image_identity(image, image[..., 0], None)[OF_PIXELS] for image in (wide, high)))


@dataclass(frozen=True)
class Cropped:
    """A user's dataset that reads another region of the same files, without masks."""

    folder: Path
    name: str = "cropped"
    fit = "resize"
    pool = ("train",)
    protocols = {}
    schemes = {"none": ()}

    def examples(self) -> list[Example]:
        return [Example(path.stem, path) for path in sorted((self.folder / "images").iterdir())]

    def files(self) -> list[Path]:
        return [path for example in self.examples() if (path := example.image)]

    def revision(self) -> str:
        return "1"

    def read(self, example: Example, scheme: str) -> tuple[Any, Any]:  # noqa: ARG002
        return np.asarray(Image.open(example.image))[:9, :9], np.empty((0, 0), np.uint8)


def test_files_of_equal_bytes_are_shared_for_any_reader(written, tmp_path, store, quiet):
    """A user's dataset that crops the target's files shares images with it, also if the files were copied and renamed."""
    for number in range(4):
        written.add(number)
    target = written.prepared(store, quiet)
    renamed = count(7)
    (tmp_path / "again" / "images").mkdir(parents=True)
    for path in sorted((written.folder / "images").iterdir()):
        shutil.copy(path, tmp_path / "again" / "images" / f"{next(renamed):02d}.png")
    source = prepare(DataSpec(Cropped(tmp_path / "again"), None, PX), store, quiet)
    assert shared_images(source, target, np.array([1, 3])).tolist() == [1, 3]


@dataclass(frozen=True)
class Stacked:
    """A user's dataset whose images all lie in one file; `first` and `last` select some of them."""

    file: Path
    first: int = 0
    last: int = 40
    name: str = "stacked"
    fit = "resize"
    pool = ("train",)
    protocols = {}
    schemes = {"two": ("background", "thing")}

    def examples(self) -> list[Example]:
        return [Example(str(number), self.file) for number in range(self.first, self.last)]

    def files(self) -> list[Path]:
        return [self.file]

    def revision(self) -> str:
        return f"{self.first} {self.last}"

    def read(self, example: Example, scheme: str) -> tuple[Any, Any]:  # noqa: ARG002
        image = np.load(self.file)[int(example.name)]
        return image, (image[..., 0] > 127).astype(np.uint8)


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "stack.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (60, 20, 20, 3), np.uint8))
    return path


def test_images_in_one_file_are_distinguished_by_pixels(stack, store, quiet):
    """Two datasets in one file, images 0 to 39 and 30 to 59, share exactly the images that are in both."""
    source = prepare(DataSpec(Stacked(stack), None, PX), store, quiet)
    target = prepare(DataSpec(Stacked(stack, 30, 60), None, PX), store, quiet)
    assert shared_images(source, target, np.arange(30)).tolist() == list(range(30, 40))
    split = split_source(source, None, 0, without=shared_images(source, target, np.array([0, 5])).tolist())
    assert len(split.train) + len(split.val) == 38


def test_a_dataset_in_one_file_shares_only_its_held_out_images(stack, store, quiet):
    """As a source for itself, a target in one file loses the images that it holds out and keeps the others."""
    data = prepare(DataSpec(Stacked(stack), None, PX), store, quiet)
    assert shared_images(data, data, np.array([3, 17])).tolist() == [3, 17]


def test_a_file_of_several_images_is_not_read_for_its_digest(stack, store, quiet, monkeypatch):
    """The bytes of such a file identify no single image: they are not hashed."""
    hashed, real = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: hashed.append(path) or real(path))
    data = prepare(DataSpec(Stacked(stack), None, PX), store, quiet)
    assert stack not in hashed
    assert not data.identity[:, OF_FILE].any()
