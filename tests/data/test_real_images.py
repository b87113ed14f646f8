"""Real photographs in the official layouts, from the folder in SEGSWEEP_DATA; skipped without it."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from segsweep.data.coco import CLASSES as COCO_CLASSES
from segsweep.data.prepare import DataSpec, prepare
from segsweep.data.splits import split_source, split_target
from segsweep.data.table import DataRoots, open_dataset
from segsweep.data.voc import CLASSES as VOC_CLASSES
from segsweep.store.folder import FolderStore

ROOT = os.environ.get("SEGSWEEP_DATA")

pytestmark = pytest.mark.skipif(not ROOT, reason="SEGSWEEP_DATA names no folder of real images")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a function that prepares a dataset at 64 px, once for all tests of this file."""
    store, made = FolderStore(tmp_path_factory.mktemp("real")), {}

    def prepare_once(name, scheme=None):
        if (name, scheme) not in made:
            dataset = open_dataset(name, DataRoots.parse([ROOT]))
            made[name, scheme] = prepare(DataSpec(dataset, scheme, 64), store, lambda *_: None)
        return made[name, scheme]

    return prepare_once


def shares(data) -> dict[str, float]:
    """Return the share of each class among the valid pixels."""
    counts = np.bincount(np.asarray(data.masks).ravel(), minlength=256)[: len(data.classes)]
    return dict(zip(data.classes, (counts / counts.sum()).tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("pets", {"trainval": 300, "test": 298}),
        ("voc2012", {"train": 103, "val": 121}),
        ("coco", {"train": 166, "val": 188}),
        ("street46", {"train": 46}),
        ("isic2018", {"train": 200}),
        ("cifar10", {"train": 1500, "test": 500}),
        ("cats_dogs", {"train": 1500, "test": 500}),
    ],
)
def test_counts_are_the_documented_ones(prepared, name, splits):
    """Each official split has the number of images that the folder's page states, and no image is uniform."""
    data = prepared(name)
    assert Counter(data.splits) == splits
    assert data.images.shape == (sum(splits.values()), 64, 64, 3)
    assert (data.images.reshape(len(data.names), -1).std(axis=1) > 3).all()


def test_pets_show_pets(prepared):
    """The foreground is the trimap's pet and border, pixel by pixel; it fills a third to two thirds, and lies in the centre."""
    foreground, trimap = prepared("pets"), prepared("pets", "trimap")
    assert np.array_equal(foreground.masks == 1, trimap.masks != 1)
    assert 0.33 < shares(foreground)["pet"] < 0.67
    assert foreground.masks[:, 24:40, 24:40].mean() > foreground.masks[:, :8].mean() + 0.3
    assert Counter(foreground.strata) == {"Abyssinian": 198, "american_bulldog": 200, "Bengal": 200}


def test_pets_are_divided_by_breed(prepared):
    """60-20-20 of the 300 images of trainval is 180, 60 and 60, with each breed in its share."""
    data = prepared("pets")
    split = split_target(data, "60-20-20")
    assert (len(split.train), len(split.val), len(split.test)) == (180, 60, 60)
    whole = Counter(data.strata[position] for position in range(300))
    tested = Counter(data.strata[int(member)] for member in split.test)
    assert all(abs(tested[breed] - count / 5) <= 2 for breed, count in whole.items())


def test_voc_has_its_classes_and_ignored_borders(prepared):
    """Most of the 21 classes appear, no other value except 255 does, and the background is the largest."""
    data = prepared("voc2012")
    present = {name for name, share in shares(data).items() if share > 0}
    assert tuple(data.classes) == VOC_CLASSES
    assert len(present) >= 18
    assert max(shares(data), key=shares(data).get) == "background"
    assert set(np.unique(data.masks).tolist()) <= {*range(21), 255}
    assert (data.masks == 255).any()


def test_coco_has_its_classes_and_crowds(prepared):
    """Many of the 80 classes appear, people are the most frequent except the background, and crowds are ignored."""
    data = prepared("coco")
    ranked = sorted(shares(data).items(), key=lambda item: -item[1])
    assert tuple(data.classes) == COCO_CLASSES
    assert sum(share > 0 for _, share in ranked) > 60
    assert {name for name, _ in ranked[:2]} == {"background", "person"}
    assert 0 < (data.masks == 255).mean() < 0.1


def test_coco_and_its_voc_copy_agree(prepared):
    """The VOC folder was drawn from COCO's polygons: its images of cats show cats in COCO's masks too."""
    voc, coco = prepared("voc2012"), prepared("coco")
    voc_cat, coco_cat = VOC_CLASSES.index("cat"), COCO_CLASSES.index("cat")
    by_number = {Path(name).stem.lstrip("0"): position for position, name in enumerate(coco.names)}
    shared = [
        (at, by_number[number]) for at, name in enumerate(voc.names) if (number := name.split("_")[-1].lstrip("0")) in by_number
    ]
    assert len(shared) > 50
    agree = [(voc.masks[one] == voc_cat).any() == (coco.masks[other] == coco_cat).any() for one, other in shared]
    assert np.mean(agree) > 0.95


def test_a_users_folder(prepared):
    """The user's folder shows all its three classes, and holds out a tenth as a source."""
    data = prepared("street46")
    assert len(data.classes) == 3
    assert all(share > 0 for share in shares(data).values())
    split = split_source(data, None, 0)
    assert (len(split.train), len(split.val)) == (41, 5)


def test_lesions_lie_in_the_middle_and_are_dark(prepared):
    """A lesion fills a tenth to a half of an image, lies in the centre, and is darker than the skin around it."""
    data = prepared("isic2018")
    lesion = np.asarray(data.masks) == 1
    assert 0.1 < lesion.mean() < 0.5
    assert lesion[:, 24:40, 24:40].mean() > lesion[:, :8].mean() + 0.4
    brightness = np.asarray(data.images).mean(axis=3)
    pairs = zip(brightness, lesion, strict=True)
    darker = [image[marked].mean() < image[~marked].mean() for image, marked in pairs if marked.any()]
    assert np.mean(darker) > 0.9


@pytest.mark.parametrize("name", ["cifar10", "cats_dogs"])
def test_images_without_masks(prepared, name):
    """CIFAR-10's official pickles and cats and dogs are read without masks, and are neither black nor uniform."""
    data = prepared(name)
    assert not data.labelled
    assert data.masks.shape == (2000, 0, 0)
    mean, std = data.mean_std(np.arange(2000))
    assert all(0.35 < value < 0.55 for value in mean)
    assert all(0.2 < value < 0.3 for value in std)


def test_moments_are_those_of_the_images(prepared):
    """Mean and standard deviation from the moments equal those of the pixels."""
    data = prepared("pets")
    members = np.arange(0, 598, 7)
    mean, std = data.mean_std(members)
    pixels = np.asarray(data.images[members]).reshape(-1, 3) / 255
    assert mean == pytest.approx(pixels.mean(0), rel=1e-10)
    assert std == pytest.approx(pixels.std(0), rel=1e-8)
    counts = np.bincount(np.asarray(data.masks[members]).ravel(), minlength=256)
    assert data.class_pixels(members).tolist() == counts[:2].tolist()


def test_pets_by_every_protocol(prepared):
    """The official split with its test part in halves; and a fifth of all images held out, equal for every development share."""
    data = prepared("pets")
    split = split_target(data, "50-25-25")
    assert (len(split.train), len(split.val), len(split.test)) == (300, 149, 149)
    assert split.train.tolist() == list(range(300))
    shares_of_all = {share: split_target(data, "holdout-20", share) for share in (0.2, 0.5, 0.8)}
    assert {share: (len(each.train), len(each.val), len(each.test)) for share, each in shares_of_all.items()} == {
        0.2: (108, 48, 120),
        0.5: (269, 48, 120),
        0.8: (430, 48, 120),
    }
    assert len({(each.val.tobytes(), each.test.tobytes()) for each in shares_of_all.values()}) == 1
    tested = Counter(data.strata[int(member)] for member in split_target(data, "holdout-20").test)
    assert all(abs(count - 40) <= 1 for count in tested.values())
