"""Readers of datasets whose images cannot be shipped: the tests write them in their official layouts."""

import numpy as np
import pytest

from segsweep.data.ade20k import CLASSES as ADE20K_CLASSES
from segsweep.data.ade20k import Ade20k
from segsweep.data.camvid import CLASSES as CAMVID_CLASSES
from segsweep.data.camvid import CamVid
from segsweep.data.cityscapes import EVALUATED, RAW, Cityscapes
from segsweep.data.isic import Isic2018
from segsweep.data.mas3k import Mas3k
from segsweep.data.pets import Pets
from segsweep.data.prepare import DataSpec, prepare
from segsweep.data.splits import split_target
from segsweep.errors import UserError


def values(data, scheme: str) -> list[tuple[int, int]]:
    """Return, per example, the class outside and the class in the middle."""
    masks = [data.read(example, scheme)[1] for example in data.examples()]
    return [(int(mask[0, 0]), int(mask[16, 24])) for mask in masks]


def test_cityscapes_labels(layouts):
    """Of the 34 raw labels, 19 are evaluated, with the train ids of the official table; the others are ignored."""
    data = Cityscapes(layouts.cityscapes())
    assert list(data.schemes) == ["evaluated", "raw"]
    assert (len(EVALUATED), len(RAW), len(set(RAW))) == (19, 34, 34)
    assert values(data, "raw") == [(7, 24), (7, 25), (7, 26), (7, 27), (7, 28)]
    assert values(data, "evaluated") == [(0, 11), (0, 12), (0, 13), (0, 14), (0, 15)]
    official = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 31: 16, 32: 17, 33: 18}
    assert all(EVALUATED[train_id] == RAW[label] for label, train_id in official.items())


@pytest.mark.parametrize("label", [0, 3, 9, 15, 18, 29, 30])
def test_cityscapes_labels_that_are_not_evaluated(layouts, label):
    """A label that the benchmark does not evaluate is ignored under `evaluated`, and a separate class under `raw`."""
    data = Cityscapes(layouts.cityscapes(train=1, val=1))
    layouts.mask(data.examples()[0].mask, np.full((32, 48), label, np.uint8))
    assert data.read(data.examples()[0], "evaluated")[1][0, 0] == 255
    assert data.read(data.examples()[0], "raw")[1][0, 0] == label


def test_cityscapes_instance_numbers_are_refused(layouts):
    """A file of 16-bit instance ids instead of labels is refused: 26001 is not a class."""
    data = Cityscapes(layouts.cityscapes())
    layouts.mask(data.examples()[0].mask, np.full((32, 48), 26001, np.uint16))
    with pytest.raises(UserError, match=r"labelIds\.png: mask value 26001 is outside the classes; allowed are 0\.\.33, 255"):
        data.read(data.examples()[0], "raw")


def test_cityscapes_cities_and_splits(layouts):
    """Images are found in all cities of train and val; the city is the stratum."""
    examples = Cityscapes(layouts.cityscapes()).examples()
    assert [example.split for example in examples] == ["train"] * 3 + ["val"] * 2
    assert {example.stratum for example in examples} == {"aachen", "zürich", "münster"}
    assert examples[0].name == "aachen/aachen_000000_000019"


def test_isic_parts(layouts):
    """Official validation and test are read if they exist; the mask's 255 is the lesion and not ignored."""
    assert [example.split for example in Isic2018(layouts.isic2018()).examples()] == ["train"] * 3
    data = Isic2018(layouts.isic2018(Training=3, Validation=1, Test=2))
    assert [example.split for example in data.examples()] == ["train"] * 3 + ["val"] + ["test"] * 2
    assert values(data, "lesion") == [(0, 1)] * 6


def test_mas3k_animals_are_in_the_names(layouts):
    """The mask's foreground has the class of the animal in the name; `binary` has one class for all animals."""
    data = Mas3k(layouts.mas3k())
    assert data.schemes["species"] == ("background", "crab", "seahorse", "starfish")
    assert values(data, "species") == [(0, 1), (0, 1), (0, 2), (0, 3)]
    assert values(data, "binary") == [(0, 1)] * 4
    assert [(example.split, example.stratum) for example in data.examples()] == [
        ("train", "crab"),
        ("train", "crab"),
        ("train", "seahorse"),
        ("test", "starfish"),
    ]


def test_mas3k_names_without_an_animal(layouts):
    """A mask with foreground and no animal in its name is refused in `species`; an empty mask is background."""
    data = Mas3k(layouts.mas3k(train=("Arthropod_Crab_Cam", "nothing")))
    nameless = next(example for example in data.examples() if "nothing" in example.name)
    assert data.schemes["species"] == ("background", "crab", "starfish")
    with pytest.raises(UserError, match=r"nothing_2\.jpg: its name contains no animal .*; use the classes 'binary'"):
        data.read(nameless, "species")
    assert data.read(nameless, "binary")[1].any()
    layouts.mask(nameless.mask, np.zeros((32, 48), np.uint8))
    assert not data.read(nameless, "species")[1].any()


def test_ade20k_classes(layouts):
    """0 is everything else and is ignored; 1..150 are the classes in the official order."""
    data = Ade20k(layouts.ade20k())
    assert values(data, "all") == [(255, 0), (255, 1), (255, 2), (255, 3), (255, 149)]
    assert len(set(ADE20K_CLASSES)) == 150
    official = {1: "wall", 13: "person", 21: "car", 67: "flower", 76: "swivel chair", 100: "buffet", 127: "animal", 150: "flag"}
    assert {number: ADE20K_CLASSES[number - 1] for number in official} == official
    assert [example.split for example in data.examples()] == ["train"] * 3 + ["val"] * 2
    assert Ade20k(data.folder / "ADEChallengeData2016").examples() == data.examples()


def test_camvid_classes(layouts):
    """0..10 are SegNet's classes and 11 is ignored; a folder that holds `CamVid` works too."""
    data = CamVid(layouts.camvid())
    assert values(data, "all") == [(255, 0), (255, 5), (255, 10)]
    assert (CAMVID_CLASSES[0], CAMVID_CLASSES[8], CAMVID_CLASSES[10]) == ("sky", "car", "bicyclist")
    data.folder.rename(data.folder.parent / "CamVid")
    assert [example.split for example in CamVid(data.folder.parent).examples()] == ["train", "val", "test"]


def test_a_shared_image_name_in_two_splits_is_refused(layouts, store, quiet):
    """An image in two official splits would be used for training and test, so it is refused."""
    folder = layouts.camvid()
    for part in ("train", "trainannot"):
        (folder / part / "0001TP_000000.png").rename(folder / part / "0001TP_000005.png")
    with pytest.raises(UserError, match="0001TP_000005 is listed twice; an image has one split"):
        prepare(DataSpec(CamVid(folder), None, 16), store, quiet)


def test_pets_by_all_protocols(layouts, store, quiet):
    """Pets are divided by per cents of trainval, by the official split, and by holding out from both."""
    pets = prepare(DataSpec(Pets(layouts.pets(trainval=30, test=20)), None, 16), store, quiet)
    for protocol, sizes in (("60-20-20", (18, 6, 6)), ("50-25-25", (30, 10, 10)), ("holdout-20", (36, 4, 10))):
        split = split_target(pets, protocol)
        assert (len(split.train), len(split.val), len(split.test)) == sizes
