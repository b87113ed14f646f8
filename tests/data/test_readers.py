import json

import numpy as np
import pytest
from contracts.dataset import FolderDatasetContract
from PIL import Image

from segsweep.data.ade20k import Ade20k
from segsweep.data.camvid import CamVid
from segsweep.data.cats_dogs import CatsDogs
from segsweep.data.cifar10 import Cifar10
from segsweep.data.cityscapes import Cityscapes
from segsweep.data.coco import CLASSES as COCO_CLASSES
from segsweep.data.coco import Coco2017
from segsweep.data.folder import Folder
from segsweep.data.image_files import ORIENTATION, open_image
from segsweep.data.isic import Isic2018
from segsweep.data.mas3k import Mas3k
from segsweep.data.pets import Pets
from segsweep.data.table import DATASETS, folder_dataset
from segsweep.data.voc import CLASSES as VOC_CLASSES
from segsweep.data.voc import Voc2012
from segsweep.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2


READERS = {
    "pets": Pets,
    "voc": Voc2012,
    "coco": Coco2017,
    "plain": lambda path, name="mine": Folder(path, name),
    "cityscapes": Cityscapes,
    "isic2018": Isic2018,
    "mas3k": Mas3k,
    "ade20k": Ade20k,
    "camvid": CamVid,
    "cifar10": Cifar10,
    "cats_dogs": CatsDogs,
    "photos": lambda path, name="mine": folder_dataset(path, name),
    "exported": lambda path, name="mine": folder_dataset(path, name),
}
MORE = {
    "coco": {"objects": [{"category_id": 8, "segmentation": [[4, 4, 30, 4, 30, 20, 4, 20]], "area": 416}], "more": 2},
    "isic2018": {"Training": 12},
    "mas3k": {"train": ("Arthropod_Crab_Cam",) * 12},
    "cats_dogs": {"count": 7},
}


def frame(outer: int, border: int, inner: int) -> np.ndarray:
    """Return the mask that `Layouts.pets` and `Layouts.voc` write, with other numbers."""
    mask = np.full((32, 48), outer)
    mask[8:24, 8:40] = border
    mask[10:22, 10:38] = inner
    return mask


class TestEveryReader(FolderDatasetContract):
    @pytest.fixture(params=READERS)
    def layout(self, request):
        return request.param

    @pytest.fixture
    def folder(self, layout, layouts):
        return getattr(layouts, layout)(**MORE.get(layout, {}))

    @pytest.fixture
    def reader_of(self, layout):
        return READERS[layout]

    @pytest.fixture
    def foreign(self, layout):
        return 100 if layout == "mas3k" else 200  # a grey for black-and-white masks, an unknown class for others


def test_every_reader_of_the_table_keeps_the_contract():
    """Every named dataset is among those whose contract is tested."""
    assert {entry.reader for entry in DATASETS.values()} <= set(READERS.values())


def test_pets_read_both_official_lists(layouts):
    """Lists with `#` lines define the splits, the breed is the stratum, and list columns are not part of a name."""
    examples = Pets(layouts.pets()).examples()
    assert [example.split for example in examples] == ["trainval"] * 12 + ["test"] * 4
    assert {example.stratum for example in examples} == {"Bengal", "great_dane"}
    assert examples[1].name == "great_dane_1"
    assert examples[1].image.name == "great_dane_1.jpg"


def test_pets_schemes(layouts):
    """In `foreground`, the trimap's border is pet; in `trimap`, the three values keep their meaning and order."""
    data = Pets(layouts.pets())
    _, foreground = data.read(data.examples()[0], "foreground")
    _, trimap = data.read(data.examples()[0], "trimap")
    assert np.array_equal(foreground, frame(0, 1, 1))
    assert np.array_equal(trimap, frame(1, 2, 0))
    assert [data.schemes["trimap"][number] for number in (0, 1, 2)] == ["pet", "background", "boundary"]


def test_formats_of_pets_images_are_detected_by_content(layouts):
    """A GIF or PNG under `.jpg` reads as the image it is."""
    data = Pets(layouts.pets())
    starts = [example.image.read_bytes()[:3] for example in data.examples()[:3]]
    assert starts == [b"GIF", b"\x89PN", b"\xff\xd8\xff"]
    image, _ = data.read(data.examples()[1], "foreground")
    assert np.array_equal(image, np.random.default_rng(1).integers(0, 256, (32, 48, 3), dtype=np.uint8))


def test_voc_masks_are_palette_indices(layouts):
    """The palette's indices are the classes, its colours have no meaning, and 255 stays ignored."""
    data = Voc2012(layouts.voc())
    for number, example in enumerate(data.examples()):
        _, mask = data.read(example, "all")
        assert np.array_equal(mask, frame(0, 255, 1 + number))
    assert [example.split for example in data.examples()] == ["train"] * 4 + ["val"] * 3
    assert (len(VOC_CLASSES), VOC_CLASSES[8], VOC_CLASSES[12], VOC_CLASSES[20]) == (21, "cat", "dog", "tvmonitor")


@pytest.mark.parametrize("below", ["VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_is_found_from_inside(layouts, below):
    """The folder may be the root, `VOCdevkit`, or `VOC2012`."""
    folder = layouts.voc()
    assert len(Voc2012(folder / below).examples()) == len(Voc2012(folder).examples()) == 7


def rectangle(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def category(name: str) -> int:
    return 3 * COCO_CLASSES.index(name) + 5


def run_lengths(region: np.ndarray) -> list[int]:
    """Return the lengths of alternating runs of 0 and 1, down the columns, starting with 0: COCO's definition."""
    counts, value = [0], 0
    for pixel in region.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def compressed(counts: list[int]) -> str:
    """Return the compressed text of run lengths: differences to the second last, five bits per character, as in COCO's C code."""
    letters = []
    for position, count in enumerate(counts):
        number, more = count - (counts[position - 2] if position > 2 else 0), True
        while more:
            bits, number = number & 0x1F, number >> 5
            more = number != (-1 if bits & 0x10 else 0)
            letters.append(chr((bits | (0x20 if more else 0)) + 48))
    return "".join(letters)


def drawn(layouts, *objects) -> np.ndarray:
    data = Coco2017(layouts.coco(objects=list(objects)))
    return data.read(data.examples()[0], "all")[1]


def boxed(name, box, **more):
    left, top, right, bottom = box
    return {"category_id": category(name), "segmentation": [rectangle(*box)], "area": (right - left) * (bottom - top), **more}


def filled(*parts) -> np.ndarray:
    """Return an independent rasterisation: rectangles filled one after the other, each a box and a number."""
    mask = np.zeros((32, 48), np.uint8)
    for (left, top, right, bottom), number in parts:
        mask[top:bottom, left:right] = number
    return mask


def test_coco_polygons_are_drawn(layouts):
    """A polygon fills exactly the pixels inside it, and an object of two polygons fills both."""
    two = {"category_id": category("dog"), "area": 500, "segmentation": [rectangle(2, 3, 12, 20), rectangle(20, 5, 31, 9)]}
    dog = COCO_CLASSES.index("dog")
    assert np.array_equal(drawn(layouts, two), filled(((2, 3, 12, 20), dog), ((20, 5, 31, 9), dog)))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_coco_small_objects_lie_on_top(layouts, order):
    """Smaller objects cover larger ones, in any order of the file."""
    boxes = [((2, 2, 40, 30), "person"), ((5, 5, 30, 25), "bed"), ((8, 8, 12, 12), "cat")]
    objects = [boxed(name, box) for box, name in boxes]
    expected = filled(*((box, COCO_CLASSES.index(name)) for box, name in boxes))
    assert np.array_equal(drawn(layouts, *(objects[position] for position in order)), expected)


@pytest.mark.parametrize("form", ["uncompressed", "compressed"])
def test_coco_crowds_are_ignored_below_objects(layouts, form):
    """A crowd region is 255 unless an object covers it, however small the crowd is; both kinds of run lengths are read."""
    region = filled(((4, 6, 20, 26), 1))
    region[10, 30] = 1
    counts = run_lengths(region)
    lengths = {"size": [32, 48], "counts": counts if form == "uncompressed" else compressed(counts)}
    crowd = {"category_id": category("person"), "segmentation": lengths, "iscrowd": 1, "area": 1}
    mask = drawn(layouts, boxed("cat", (10, 10, 40, 15)), crowd)
    expected = filled(((4, 6, 20, 26), 255), ((30, 10, 31, 11), 255), ((10, 10, 40, 15), COCO_CLASSES.index("cat")))
    assert np.array_equal(mask, expected)


def test_coco_run_lengths_may_be_an_object(layouts):
    """An object, not only a crowd, may be given as run lengths."""
    item = {"category_id": category("cat"), "segmentation": {"size": [32, 48], "counts": run_lengths(filled(((1, 2, 9, 30), 1)))}}
    assert np.array_equal(drawn(layouts, item), filled(((1, 2, 9, 30), COCO_CLASSES.index("cat"))))


def test_coco_objects_refer_to_the_stored_rows(layouts):
    """Objects refer to the rows and columns as stored, whose numbers the annotations state, so EXIF rotates nothing."""
    folder = layouts.coco(objects=[boxed("cat", (1, 2, 9, 30))])
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    file = folder / "train2017" / "a.jpg"
    Image.open(file).save(file, exif=exif)
    data = Coco2017(folder)
    image, mask = data.read(data.examples()[0], "all")
    assert np.array_equal(image, np.asarray(Image.open(file)))
    assert np.array_equal(image[::-1, ::-1], open_image(file))
    assert np.array_equal(mask, filled(((1, 2, 9, 30), COCO_CLASSES.index("cat"))))


@pytest.mark.parametrize("first", [True, False])
def test_coco_polygon_of_two_corners_is_empty(layouts, first):
    """A polygon of two corners is not a box: it draws nothing and does not change the polygons beside it."""
    polygons = [rectangle(20, 5, 31, 9), [1, 2, 10, 12]]
    item = {"category_id": category("cat"), "segmentation": polygons[::-1] if first else polygons}
    assert np.array_equal(drawn(layouts, item), filled(((20, 5, 31, 9), COCO_CLASSES.index("cat"))))


def test_coco_image_without_objects_is_background(layouts):
    """An image without annotations is an example too, with only background."""
    data = Coco2017(layouts.coco())
    examples = data.examples()
    assert [(example.name, example.split) for example in examples] == [("train2017/a.jpg", "train"), ("val2017/b.jpg", "val")]
    assert not data.read(examples[1], "all")[1].any()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"segmentation": [rectangle(1, 1, 9, 9)], "category_id": 9999}, "objects of image a.jpg cannot be drawn"),
        ({"segmentation": "polygon", "category_id": 8}, "cannot be drawn"),
        ({"segmentation": [[1e9, 2, -1e9, 4, 5, 9]], "category_id": 8}, "a corner of its polygon lies at 1e\\+09, far outside"),
        ({"segmentation": [[float("nan"), 2, 3, 4, 5, 9]], "category_id": 8}, "far outside the image"),
        ({"segmentation": [["a"] * 8], "category_id": 8}, "cannot be drawn"),
        ({"segmentation": {"size": [10, 10], "counts": [50, 50]}, "category_id": 8}, "cannot be drawn"),
        ({"segmentation": {"size": [32, 48], "counts": [5000, 5000]}, "category_id": 8}, "cannot be drawn"),
        ({"segmentation": {"size": [32, 48], "counts": None}, "category_id": 8}, "cannot be drawn"),
        ({"segmentation": None, "category_id": 8}, "cannot be drawn"),
    ],
)
def test_coco_object_that_cannot_be_drawn_is_named(layouts, item, message):
    """An invalid annotation raises one line with its file and image."""
    with pytest.raises(UserError, match=message) as raised:
        drawn(layouts, item)
    assert "instances_train2017.json" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_coco_size_must_be_the_annotations(layouts):
    """An image with another size than its annotation is refused, with both sizes."""
    folder = layouts.coco()
    layouts.image(folder / "train2017" / "a.jpg", size=(40, 32))
    data = Coco2017(folder)
    with pytest.raises(UserError, match=r"a\.jpg: image is 40x32 but .*instances_train2017\.json states 48x32"):
        data.read(data.examples()[0], "all")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"images": []}',
        b'{"images": [{"file_name": "a.jpg"}], "annotations": [], "categories": []}',
        json.dumps({"images": [], "annotations": [], "categories": [{"id": 1, "name": "unicorn"}]}).encode(),
    ],
)
def test_invalid_coco_file_is_named(layouts, content):
    """An annotation file that is not a COCO instances file raises one line that names it."""
    folder = layouts.coco()
    (folder / "annotations" / "instances_val2017.json").write_bytes(content)
    with pytest.raises(UserError, match=r"instances_val2017\.json: is not a COCO instances file") as raised:
        Coco2017(folder).examples()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "background\ncar\nsign\n",
        "0 background\n1 car\n2 sign\n",
        "\ufeff0\tbackground\r\n1\tcar\r\n\r\n2\tsign",
        "background \n car\nsign",
    ],
)
def test_folder_classes_may_be_numbered(layouts, text):
    """Classes are one per line, numbered or not, with or without a byte order mark, tabs, blanks and Windows line ends."""
    assert Folder(layouts.plain(classes=text), "mine").schemes == {"all": ("background", "car", "sign")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 background\n2 car\n", "line 1 reads '1 background'; the classes must be numbered 0, 1, 2"),
        ("0 background\n2 car\n", "line 2 reads '2 car'"),
        ("background\n", "names 1 classes; needs 2 to 255 different ones"),
        ("", "names 0 classes"),
        ("car\ncar\n", "line 2 reads 'car', as line 1 does"),
        ("\n".join(f"c{number}" for number in range(256)), "names 256 classes"),
    ],
)
def test_invalid_folder_classes_are_refused(layouts, text, message):
    """Class names that are misnumbered, repeated, too few or too many are refused with their file."""
    with pytest.raises(UserError, match=message) as raised:
        _ = Folder(layouts.plain(classes=text), "mine").schemes
    assert "classes.txt" in str(raised.value)


def test_folder_without_lists_is_one_split(layouts):
    """Without lists, every image is in `train`, in the order of names, with a suffix in any case; other files are not read."""
    folder = layouts.plain(count=2)
    layouts.image(folder / "images" / "P9.JPG")
    layouts.mask(folder / "masks" / "P9.png", np.zeros((32, 48), np.uint8))
    (folder / "images" / "Thumbs.db").write_bytes(b"x")
    (folder / "images" / "._p0.jpg").write_bytes(b"x")
    examples = Folder(folder, "mine").examples()
    assert [(example.name, example.split) for example in examples] == [("P9", "train"), ("p0", "train"), ("p1", "train")]
    assert [example.image.name for example in examples] == ["P9.JPG", "p0.jpg", "p1.jpg"]


def test_folder_lists_are_the_splits(layouts):
    """Lists define the splits and exclude images that they do not name; a name may have a suffix or a folder."""
    folder = layouts.plain(train="\ufeffp0\np2.jpg\r\n\n", val="images/p1.jpg\n", test="p4")
    examples = Folder(folder, "mine").examples()
    assert [(example.name, example.split) for example in examples] == [
        ("p0", "train"),
        ("p2", "train"),
        ("p1", "val"),
        ("p4", "test"),
    ]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": "p0\np77\n"}, "train.txt: names 'p77', but .*images has no such image"),
        ({"train": "p0\n", "val": "p1\np0\n"}, "val.txt: names 'p0', which train.txt names too"),
        ({"train": "p0\np0.jpg\n"}, "train.txt: names 'p0.jpg', which train.txt names too"),
    ],
)
def test_invalid_folder_lists_are_refused(layouts, lists, message):
    """A list with an unknown image, or with an image that is listed already, is refused with the list's name."""
    with pytest.raises(UserError, match=message):
        Folder(layouts.plain(**lists), "mine").examples()


def test_folder_masks_of_two_images_are_refused(layouts):
    """Two images that differ only in their suffix would share a mask, so they are refused."""
    folder = layouts.plain()
    layouts.image(folder / "images" / "p0.png", form="PNG")
    with pytest.raises(UserError, match=r"p0\.png: p0\.jpg has the same name"):
        Folder(folder, "mine").examples()


def remove(folder, name):
    path = folder / name
    if path.is_dir():
        path.rename(path.with_name("moved"))
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("layout", "gone", "message"),
    [
        ("pets", "annotations/trainval.txt", "trainval.txt is missing; expected the official layout of Oxford-IIIT Pet"),
        ("pets", "annotations/test.txt", "test.txt is missing"),
        ("voc", "VOCdevkit/VOC2012/JPEGImages", "JPEGImages is missing; expected the official layout"),
        ("voc", "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "val.txt is missing"),
        ("coco", "annotations/instances_val2017.json", "instances_val2017.json is missing"),
        ("plain", "images", "images is missing; expected images/, masks/ and classes.txt"),
        ("cityscapes", "leftImg8bit/val", "val/CITY/\\*_leftImg8bit.png are missing; expected the official layout of Cityscapes"),
        ("isic2018", "ISIC2018_Task1-2_Training_Input", "Training_Input holds no images; expected the official layout"),
        ("mas3k", "train", "train/Image holds no images; expected the official layout of MAS3K"),
        ("ade20k", "ADEChallengeData2016/images/validation", "images/validation holds no images"),
        ("camvid", "test", "test holds no images; expected the layout of the SegNet tutorial"),
        ("cats_dogs", "train", "train holds neither cats/ and dogs/ nor cat.0.jpg"),
        ("cifar10", "cifar-10-batches-py/test_batch", "test_batch: file is missing; expected the official batches"),
    ],
)
def test_missing_parts_of_a_layout_are_named(layouts, layout, gone, message):
    """A missing list, annotation file or folder of a layout is named with the expected layout."""
    folder = getattr(layouts, layout)()
    remove(folder, gone)
    with pytest.raises(UserError, match=message) as raised:
        READERS[layout](folder).examples()
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize(
    ("layout", "path"),
    [
        ("pets", "annotations/trainval.txt"),
        ("voc", "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"),
        ("plain", "train.txt"),
        ("plain", "classes.txt"),
    ],
)
def test_lists_must_be_text(layouts, layout, path):
    """A list in another encoding raises one line that names it, not a decoder's traceback."""
    folder = getattr(layouts, layout)()
    (folder / path).write_bytes("café_1\n".encode("utf-16"))
    make = READERS[layout]
    with pytest.raises(UserError, match=r"\.txt: cannot be read as UTF-8 text") as raised:
        _ = make(folder).examples(), make(folder).schemes
    assert "\n" not in str(raised.value)
