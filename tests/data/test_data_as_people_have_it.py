"""Data as people have it: folders and files of many origins are read correctly, or refused in one line with the remedy. Each case
is a small folder, which `segsweep prepare folder:PATH` reads as for a user. `Reads` are cases that must be prepared, with the
output of the command and the content of the masks; `Refuses` are cases that must end in one line.
"""

import json
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segsweep.cli.commands import command_line
from segsweep.data.prepared import Prepared

ORIENTATION = 0x0112
SIZE = (24, 16)  # width, height of most images


def image(path: Path, size=SIZE, mode="RGB", seed=0, **options) -> Path:
    """Write an image of random levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    levels = np.random.default_rng([seed, *path.stem.encode()]).integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    made = Image.fromarray(levels[..., 0] if bands == 1 else levels, "L" if bands == 1 else mode)
    made.convert(mode).save(path, **options)
    return path


def numbers(size=SIZE, value=1) -> np.ndarray:
    """Return a mask: the right half has a value, the rest 0."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[:, size[0] // 2 :] = value
    return mask


def mask(path: Path, size=SIZE, value=1, **options) -> Path:
    """Write a mask of class numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers(size, value)).save(path, **options)
    return path


def pair(folder: Path, name: str, size=SIZE, ending="png") -> None:
    """Write an image with its mask."""
    image(folder / "images" / f"{name}.{ending}", size)
    mask(folder / "masks" / f"{name}.png", size)


def plain(folder: Path, count=6, classes="ground\nthing\n", **pairs) -> Path:
    """Write a dataset of pairs with a `classes.txt`."""
    for number in range(count):
        pair(folder, f"p{number}", **pairs)
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "classes.txt").write_bytes(classes.encode() if isinstance(classes, str) else classes)
    return folder


def polygon(left, top, right, bottom) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def coco(names=("a.png", "b.png", "c.png"), categories=((1, "cat"), (2, "dog")), size=SIZE, **item) -> dict:
    """Return a labelling tool's COCO file: one image per name, each with an object of the first category in its left half."""
    box = {"bbox": [0, 0, 12, 16], "segmentation": polygon(0, 0, 12, 16)}
    objects = [
        {"id": n, "image_id": n, "category_id": 1 + n % 2, **{k: v for k, v in {**box, **item}.items() if v is not None}}
        for n in range(len(names))
    ]
    return {
        "images": [{"id": n, "file_name": name, "width": size[0], "height": size[1]} for n, name in enumerate(names)],
        "annotations": objects,
        "categories": [{"id": number, "name": name} for number, name in categories],
    }


def labelled(folder: Path, file: str, content: dict, images="images") -> Path:
    """Write a COCO file and its images."""
    for each in content["images"]:
        image(folder / images / each["file_name"], SIZE)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(content))
    return folder


@dataclass(frozen=True)
class Reads:
    """A case that is prepared: a pattern of the command's output, and the number of masks that show each class."""

    says: str = ""
    classes: tuple[str, ...] = ("ground", "thing")
    shown: tuple[int, ...] | None = None
    count: int = 6
    masks: Callable[[Prepared], bool] = lambda _: True
    silent: str | None = None


@dataclass(frozen=True)
class Refuses:
    """A case that is refused in one line."""

    says: str


CASES: dict[str, tuple[Callable[[Path], object], Reads | Refuses]] = {}


def case(name: str, expected: Reads | Refuses):
    """Add a case to the table."""

    def add(build):
        assert name not in CASES
        CASES[name] = build, expected
        return build

    return add


def run(folder: Path | bytes, capsys, store: Path, px=16) -> tuple[int, str, str]:
    """Prepare a folder, and return the exit code and the printed text."""
    code = 0
    try:
        command_line(["prepare", f"folder:{folder}", "--image-px", str(px), "--store", str(store)])
    except SystemExit as ended:
        code = ended.code
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines(keepends=True) if "starting (importing" not in line]  # the first run alone
    return code, printed.out, "".join(errors)


# what labelling tools export


@case("coco: CVAT, own categories, images beside", Reads(classes=("background", "cat", "dog"), shown=(3, 2, 1), count=3))
def _(folder):
    labelled(folder, "annotations/instances_default.json", coco(iscrowd=0, area=192.0))


@case("coco: CVAT, images below the subset's name", Reads(classes=("background", "cat", "dog"), count=3))
def _(folder):
    labelled(folder, "annotations/instances_Train.json", coco(iscrowd=0, area=192.0), "images/Train")


@case("coco: Label Studio, result.json", Reads(classes=("background", "cat", "dog"), shown=(3, 2, 1), count=3))
def _(folder):
    content = coco([f"images/{name}.png" for name in "abc"], ((1, "cat"), (2, "dog")), iscrowd=0, ignore=0, area=192)
    labelled(folder, "result.json", content, ".")


@case(
    "coco: Roboflow, folders per split and an unused category",
    Reads("train 3, val 3", ("background", "cat", "dog"), count=6),
)
def _(folder):
    for split in ("train", "valid"):
        content = coco([f"{split}{n}.png" for n in range(3)], iscrowd=0, area=192)
        content["categories"] = [
            {"id": 0, "name": "pets", "supercategory": "none"},
            *({**each, "supercategory": "pets"} for each in content["categories"]),
        ]
        labelled(folder, f"{split}/_annotations.coco.json", content, split)


@case("coco: neither iscrowd nor area", Reads(classes=("background", "cat", "dog"), shown=(3, 2, 1), count=3))
def _(folder):
    labelled(folder, "annotations.json", coco())


def small_on_top(data: Prepared) -> bool:
    return data.masks[0][4, 3] == 2 and data.masks[0][12, 3] == 1


@case("coco: without areas small objects lie on top", Reads(classes=("background", "cat", "dog"), count=3, masks=small_on_top))
def _(folder):
    content = coco()
    small = {"id": 90, "image_id": 0, "category_id": 2, "segmentation": polygon(2, 2, 6, 6)}
    labelled(folder, "annotations.json", {**content, "annotations": [small, *content["annotations"]]})


@case("coco: boxes only", Refuses(r"annotations\.json: 3 of 3 objects have a box and no outline .* export polygons"))
def _(folder):
    labelled(folder, "annotations.json", coco(segmentation=None))


@case("coco: boxes only, with empty outlines", Refuses(r"annotations\.json: 3 of 3 objects have a box and no outline"))
def _(folder):
    labelled(folder, "annotations.json", coco(segmentation=[]))


@case("coco: one flat polygon, numbers as texts", Reads(classes=("background", "cat", "dog"), shown=(3, 2, 1), count=3))
def _(folder):
    content = coco(categories=(("1", "cat"), ("2", "dog")), segmentation=polygon(0, 0, 12, 16)[0])
    images = [{**each, "id": str(each["id"]), "width": None} for each in content["images"]]
    labelled(folder, "annotations.json", {**content, "images": images})


def stored_rows(data: Prepared) -> bool:
    """Return whether the object, the upper half of the stored image, is the right half of the upright image."""
    return bool((data.masks[0][:8] == 1).all() and (data.masks[0][8:] == 0).all())


@case("coco: EXIF, objects on the stored image", Reads(classes=("background", "cat", "dog"), count=3, masks=stored_rows))
def _(folder):
    content = coco(segmentation=polygon(0, 0, 24, 8))
    labelled(folder, "annotations.json", content)
    turned(folder / "images" / "a.png", 6, SIZE)


@case("coco: EXIF, square", Refuses(r"a\.png: its EXIF .*rotat.* save it upright"))
def _(folder):
    labelled(folder, "annotations.json", coco(size=(16, 16)))
    for name in "abc":
        turned(folder / "images" / f"{name}.png", 6, (16, 16))


@case("coco: a name that leads out of the folder", Refuses(r"names '\.\./secret\.png', which is not found"))
def _(folder):
    image(folder.with_name("secret.png"))
    content = coco()
    labelled(folder, "annotations.json", content)
    content["images"][0]["file_name"] = "../secret.png"
    (folder / "annotations.json").write_text(json.dumps(content))


@case("coco: brush masks as crowds", Reads(classes=("background", "cat", "dog"), shown=(3, 2, 1), count=3))
def _(folder):
    runs = {"counts": [0, 12 * 16, 12 * 16], "size": [16, 24]}
    labelled(folder, "annotations.json", coco(segmentation=runs, iscrowd=1))


@case("coco: a category called background", Reads(classes=("Background", "dog"), shown=(3, 1), count=3))
def _(folder):
    labelled(folder, "annotations.json", coco(categories=((1, "Background"), (2, "dog"))))


@case("coco: two categories of one name", Refuses(r"annotations\.json: categories 1 and 2 are both called 'cat'"))
def _(folder):
    labelled(folder, "annotations.json", coco(categories=((1, "cat"), (2, "cat"))))


@case("coco: an object of an unknown category", Refuses(r"annotations\.json: object 1 .* category 2, which .* does not list"))
def _(folder):
    labelled(folder, "annotations.json", coco(categories=((1, "cat"), (3, "dog"))))


@case("coco: an object of an unknown image", Refuses(r"annotations\.json: object 2 .* image 2, which .* does not list"))
def _(folder):
    content = coco()
    labelled(folder, "annotations.json", {**content, "images": content["images"][:2]})


@case("coco: a listed image is missing", Refuses(r"annotations\.json: names 'b\.png', which is not found"))
def _(folder):
    labelled(folder, "annotations.json", coco())
    (folder / "images" / "b.png").unlink()


@case(
    "coco: an image that the file does not list",
    Reads(r"1 image is in no COCO file and not used: images/d\.png", ("background", "cat", "dog"), count=3),
)
def _(folder):
    labelled(folder, "annotations.json", coco())
    image(folder / "images" / "d.png")


@case("coco: images without objects", Reads(r"2 images have no objects.* background", ("background", "cat", "dog"), count=5))
def _(folder):
    content = coco(["a.png", "b.png", "c.png", "d.png", "e.png"])
    labelled(folder, "annotations.json", {**content, "annotations": content["annotations"][:3]})


@case("coco: beside classes.txt and masks", Reads(r"not used: annotations\.json"))
def _(folder):
    plain(folder)
    (folder / "annotations.json").write_text(json.dumps(coco()))


@case("coco: sizes of other images", Refuses(r"a\.png: image is 24x16 but .*annotations\.json states 99x16"))
def _(folder):
    content = coco()
    content["images"][0]["width"] = 99
    labelled(folder, "annotations.json", content)


@case("coco: is another kind of JSON", Refuses(r"holds neither images/ nor .*COCO"))
def _(folder):
    folder.mkdir(parents=True)
    (folder / "labels.json").write_text('{"shapes": []}')


# folders


@case("folder: images in subfolders", Reads(count=4, shown=(4, 4)))
def _(folder):
    plain(folder, 2)
    for name in ("north/a", "south/a"):
        pair(folder, name)


@case("folder: groups of images in subfolders", Reads(r"2 groups", count=2))
def _(folder):
    plain(folder, 0)
    for name in ("north/a", "south/a"):
        pair(folder, name)
    (folder / "groups.csv").write_text("north/a.png,one\nsouth/a,two\n")


@case("folder: images in subfolders called train and val", Reads("train 4, val 2"))
def _(folder):
    plain(folder, 0)
    for name in ("train/a", "train/b", "train/c", "train/d", "val/a", "val/b"):
        pair(folder, name)


@case("folder: a mask without an image", Reads(r"1 mask has no image and is not used: masks/extra\.png"))
def _(folder):
    mask(plain(folder) / "masks" / "extra.png")


@case("folder: an image without a mask", Refuses(r"images/p0\.png: has no mask; .*masks/p0\.png"))
def _(folder):
    (plain(folder) / "masks" / "p0.png").unlink()


@case(
    "folder: masks called otherwise than images",
    Refuses(r"images/p0\.png: has no mask, nor have 5 more; .*masks/p0_mask\.png has no image: give a mask the name"),
)
def _(folder):
    for path in (plain(folder) / "masks").iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))


@case("folder: masks of other lossless formats", Reads(shown=(6, 6)))
def _(folder):
    plain(folder)
    for number, ending in enumerate(("tif", "bmp", "gif", "PNG")):
        path = folder / "masks" / f"p{number}.png"
        Image.open(path).save(path.with_suffix(f".{ending}"))
        path.unlink()


@case("folder: two masks of one image", Refuses(r"masks/p0\.tif: .*p0\.png .*one"))
def _(folder):
    mask(plain(folder) / "masks" / "p0.tif")


@case("folder: an image that no list names", Reads(r"2 images are in no list and not used: p4, p5", count=4))
def _(folder):
    plain(folder)
    (folder / "train.txt").write_text("p0\np1\n")
    (folder / "val.txt").write_text("# held out\np2.png\nimages/p3.png\n")


@case("folder: a list of another name", Reads(r"not used: .*valid\.txt"))
def _(folder):
    (plain(folder) / "valid.txt").write_text("p0\n")


@case("folder: files that are no images", Reads(r"not used: images/a\.heic, images/notes\.txt"))
def _(folder):
    plain(folder)
    (folder / "images" / "a.heic").write_bytes(b"x")
    (folder / "images" / "notes.txt").write_bytes(b"x")


@case("folder: hidden files and Thumbs.db", Reads(silent="not used"))
def _(folder):
    plain(folder)
    for name in (".DS_Store", "images/.DS_Store", "images/._p0.png", "masks/Thumbs.db", "images/desktop.ini"):
        (folder / name).write_bytes(b"x")


@case("folder: names that differ in case", Reads(count=8, shown=(8, 8)))
def _(folder):
    pair(plain(folder), "A")
    pair(folder, "a")


@case("folder: one mask for two names that differ in case", Refuses(r"images/A\.png: has no mask.* differs only in case"))
def _(folder):
    pair(plain(folder), "a")
    image(folder / "images" / "A.png")


@case("folder: names that differ in their ending", Refuses(r"p0\.png: p0\.jpg has the same name|p0\.jpg: p0\.png has the same"))
def _(folder):
    image(plain(folder) / "images" / "p0.jpg")


@case("folder: a name that is no UTF-8", Refuses(r"images/caf\\xe9\.png.* is not UTF-8; rename"))
def _(folder):
    plain(folder)
    (folder / "images" / "p0.png").rename(folder / "images" / b"caf\xe9.png".decode(errors="surrogateescape"))


@case("folder: a mask's name that is no UTF-8", Refuses(r"masks/caf\\xe9\.png.* is not UTF-8; rename"))
def _(folder):
    plain(folder)
    (folder / "masks" / "p0.png").rename(folder / "masks" / b"caf\xe9.png".decode(errors="surrogateescape"))


@case("folder: names with spaces, commas, quotes and accents", Reads(shown=(7, 7), count=7))
def _(folder):
    pair(plain(folder), "été, 'one' [x] 50%+@\u2603")


@case("folder: endings in upper case", Reads(shown=(6, 6)))
def _(folder):
    for path in (plain(folder) / "images").iterdir():
        path.rename(path.with_suffix(".PNG"))


@case("folder: links to images", Reads(shown=(6, 6)))
def _(folder):
    elsewhere = plain(folder.with_name("elsewhere"))
    folder.mkdir()
    (folder / "classes.txt").write_text("ground\nthing\n")
    (folder / "images").symlink_to(elsewhere / "images")
    (folder / "masks").mkdir()
    for path in (elsewhere / "masks").iterdir():
        (folder / "masks" / path.name).symlink_to(path)


@case("folder: a broken link", Refuses(r"images/p0\.png: .*link to .*nowhere\.png, which is missing"))
def _(folder):
    path = plain(folder) / "images" / "p0.png"
    path.unlink()
    path.symlink_to(folder / "nowhere.png")


@case("folder: a link to its own parent", Reads(shown=(6, 6)))
def _(folder):
    (plain(folder) / "images" / "again").symlink_to(folder / "images")


@case("folder: empty", Refuses(r"holds neither images/ nor .*COCO"))
def _(folder):
    folder.mkdir()


@case("folder: empty images/", Refuses(r"images holds no images"))
def _(folder):
    (folder / "images").mkdir(parents=True)
    (folder / "classes.txt").write_text("ground\nthing\n")


@case("folder: images beside classes.txt", Refuses(r"images is missing; expected images/"))
def _(folder):
    plain(folder)
    for path in (folder / "images").iterdir():
        path.rename(folder / path.name)
    (folder / "images").rmdir()


@case("folder: Images/ with a capital", Refuses(r"images is missing.*Images.* differs only in case"))
def _(folder):
    plain(folder)
    (folder / "images").rename(folder / "Images")


@case("folder: no masks but classes.txt", Refuses(r"has no mask"))
def _(folder):
    plain(folder)
    (folder / "masks").rename(folder / "labels")


@case("folder: masks but no classes.txt", Refuses(r"classes\.txt is missing"))
def _(folder):
    (plain(folder) / "classes.txt").unlink()


CLASS_FILES = {
    "comments": "# my classes\nground\n\n  # more\nthing\n",
    "numbers with colons": "0: ground\n1: thing\n",
    "numbers with commas": "0,ground\r\n1,thing\r\n",
    "numbers with points": "0. ground\n1. thing\n",
    "numbers with dashes": "0 - ground\n1 - thing\n",
    "what is ignored in the end": "0: ground\n1: thing\n255: ignored\n",
    "numbers behind names": "ground: 0\nthing: 1\n",
    "byte order mark, Windows line ends, blank lines": b"\xef\xbb\xbfground\r\nthing\r\n\r\n\r\n",
    "old Macintosh line ends": "ground\rthing\r",
}
for _name, _text in CLASS_FILES.items():
    case(f"classes.txt: {_name}", Reads(shown=(6, 6)))(lambda folder, text=_text: plain(folder, classes=text))

WRONG_CLASS_FILES = {
    "twice one name": ("ground\nthing\nthing\n", r"classes\.txt: line 3 reads 'thing', as line 2 does"),
    "names that differ in case": ("ground\nThing\nthing\n", r"classes\.txt: line 3 reads 'thing', .*'Thing'.* line 2"),
    "numbers from 1": ("1: ground\n2: thing\n", r"classes\.txt: line 1 reads '1: ground'; .*numbered 0, 1, 2"),
    "UTF-16": ("ground\nthing\n".encode("utf-16"), r"classes\.txt: cannot be read as UTF-8 text"),
    "Latin-1": ("ground\nchâteau\n".encode("latin-1"), r"classes\.txt: cannot be read as UTF-8 text"),
    "one line": ("ground, thing\n", r"classes\.txt: names 1 classes; needs 2 to 255"),
}
for _name, (_text, _message) in WRONG_CLASS_FILES.items():
    case(f"classes.txt: {_name}", Refuses(_message))(lambda folder, text=_text: plain(folder, classes=text))


# masks


def replaced(made: Callable[[Path], object], part="masks", name="p0.png") -> Callable[[Path], object]:
    """Return a function that writes a plain folder in which one file is written differently."""

    def build(folder: Path) -> None:
        path = plain(folder) / part / name
        path.unlink()
        made(path)

    return build


case("mask: a value beyond the classes", Refuses(r"p0\.png: mask value 7 is outside the classes; allowed are 0, 1, 255"))(
    replaced(lambda path: mask(path, value=7))
)
case("mask: another size", Refuses(r"p0\.png: mask is 16x24 but its image is 24x16"))(
    replaced(lambda path: mask(path, size=(16, 24)))
)
case("mask: a JPEG", Refuses(r"p0\.jpg: mask is a JPEG"))(replaced(lambda path: mask(path.with_suffix(".jpg"))))
case("mask: a JPEG called PNG", Refuses(r"p0\.png: mask is a JPEG"))(replaced(lambda path: mask(path, format="JPEG")))
case("mask: colours", Refuses(r"p0\.png: mask has mode RGB; .*class numbers"))(replaced(lambda path: image(path)))
case("mask: grey with transparency", Refuses(r"p0\.png: mask has mode LA"))(replaced(lambda path: image(path, mode="LA")))
case("mask: truncated", Refuses(r"p0\.png: mask cannot be read"))(
    replaced(lambda path: path.write_bytes(mask(path).read_bytes()[:50]))
)
case("mask: no image", Refuses(r"p0\.png: mask cannot be read"))(replaced(lambda path: path.write_text("hello")))
case("mask: a palette", Reads(shown=(6, 6)))(
    replaced(lambda path: (made := Image.fromarray(numbers()), made.putpalette([9, 9, 9, 200, 0, 0]), made.save(path)))
)
case("mask: one bit", Reads(shown=(6, 6)))(replaced(lambda path: Image.fromarray(numbers().astype(bool)).save(path)))


@case("mask: 0 and 255", Refuses(r"masks hold only 0 and 255, and 255 is ignored.* write 1 instead"))
def _(folder):
    for path in (plain(folder) / "masks").iterdir():
        mask(path, value=255)


# images


def turned(path: Path, orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image(path, size, exif=exif)


@case("image: EXIF, turned, with the mask as shown", Reads(shown=(6, 6)))
def _(folder):
    turned(plain(folder) / "images" / "p0.png", 6, (16, 24))


@case("image: EXIF, turned, with the mask as stored", Refuses(r"p0\.png: .*EXIF asks for a rotation"))
def _(folder):
    turned(plain(folder) / "images" / "p0.png", 6, SIZE)


@case("image: EXIF, square and turned", Refuses(r"images/p0\.png: its EXIF .*rotat.* save .*upright"))
def _(folder):
    turned(plain(folder, size=(16, 16)) / "images" / "p0.png", 6, (16, 16))


@case("image: EXIF, upside down", Refuses(r"images/p0\.png: its EXIF .*rotat.* save .*upright"))
def _(folder):
    turned(plain(folder) / "images" / "p0.png", 3, SIZE)


@case("image: EXIF, upside down without a mask", Reads(classes=(), shown=None, count=2))
def _(folder):
    turned(folder / "images" / "a.png", 3, SIZE)
    image(folder / "images" / "b.png")


def both_turned(data: Prepared) -> bool:
    return bool((data.masks[0][:, :8] == 1).all() and (data.masks[0][:, 8:] == 0).all())


@case("image: EXIF, upside down as its mask is", Reads(shown=(6, 6), masks=both_turned))
def _(folder):
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    plain(folder)
    image(folder / "images" / "p0.png", exif=exif)
    mask(folder / "masks" / "p0.png", exif=exif)


@case("image: EXIF says upright", Reads(shown=(6, 6)))
def _(folder):
    turned(plain(folder) / "images" / "p0.png", 1, SIZE)


@case("image: larger than Pillow reads", Refuses(r"images/p0\.png: .*megapixels.* at most .*(tiles|smaller)"))
def _(folder):
    plain(folder)
    for part in ("images", "masks"):  # a few bytes that claim 200 million pixels
        path = mask(folder / part / "p0.png")
        content = bytearray(path.read_bytes())
        content[16:24] = struct.pack(">II", 20000, 10000)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        path.write_bytes(content)


@case("image: one pixel high", Reads(shown=(6, 6)))
def _(folder):
    pair(plain(folder), "p0", (500, 1))


@case("image: one pixel wide", Reads(shown=(6, 6)))
def _(folder):
    image(plain(folder) / "images" / "p0.png", (1, 500))
    path = folder / "masks" / "p0.png"
    Image.fromarray(np.arange(500).reshape(-1, 1).astype(np.uint8) % 2).save(path)


case("image: truncated", Refuses(r"p0\.png: image cannot be read"))(
    replaced(lambda path: path.write_bytes(image(path).read_bytes()[:200]), "images")
)
case("image: empty file", Refuses(r"p0\.png: image cannot be read: .*empty"))(
    replaced(lambda path: path.write_bytes(b""), "images")
)
case("image: RGBA", Reads(shown=(6, 6)))(replaced(lambda path: image(path, mode="RGBA"), "images"))
case("image: CMYK", Reads(shown=(6, 6)))(replaced(lambda path: image(path.with_suffix(".jpg"), mode="CMYK"), "images"))
case("image: LA", Reads(shown=(6, 6)))(replaced(lambda path: image(path, mode="LA"), "images"))
case("image: one bit", Reads(shown=(6, 6)))(replaced(lambda path: image(path, mode="1"), "images"))
case("image: palette", Reads(shown=(6, 6)))(replaced(lambda path: image(path, mode="P"), "images"))


def frames(path: Path, **options) -> None:
    Image.fromarray(numbers(value=200)).save(path, save_all=True, append_images=[Image.fromarray(numbers(value=9))], **options)


def first_frame(data: Prepared) -> bool:
    return bool(abs(int(data.images[0].max()) - 200) < 8)


for _ending in ("gif", "png", "webp"):
    case(f"image: animated {_ending}", Reads(shown=(6, 6), masks=first_frame))(
        replaced(lambda path, ending=_ending: frames(path.with_suffix(f".{ending}")), "images")
    )
case("image: a TIFF of several pages", Refuses(r"p0\.tif: holds 2 images, .*save each in a separate file"))(
    replaced(lambda path: frames(path.with_suffix(".tif")), "images")
)


def bands(path: Path, count: int, extra: tuple[int, ...], bits=8, photometric=2) -> None:
    """Write an uncompressed TIFF of a number of channels, of which some are `extra` samples (0: unspecified, 2: alpha)."""
    width, height = SIZE
    pixels = np.random.default_rng(0).integers(0, 256, width * height * count * bits // 8, dtype=np.uint8).tobytes()
    tags = [(256, [width]), (257, [height]), (258, [bits] * count), (259, [1]), (262, [photometric]), (273, [8])]
    tags += [(277, [count]), (278, [height]), (279, [len(pixels)])] + ([(338, list(extra))] if extra else [])
    after = 8 + len(pixels) + 2 + 12 * len(tags) + 4
    entries, more = b"", b""
    for tag, values in tags:
        packed = struct.pack(f"<{len(values)}H", *values)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", after + len(more))
        more += b"" if len(packed) <= 4 else packed
        entries += struct.pack("<HHI", tag, 3, len(values)) + place
    head = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    path.write_bytes(head + pixels + struct.pack("<H", len(tags)) + entries + bytes(4) + more)


MORE = r"p0\.tif: has {} channels; .*three"
for _count, _extra in ((4, (0,)), (5, (0, 0)), (6, (0, 0, 0)), (8, (0,) * 5), (5, (2, 0))):
    case(f"image: a TIFF of {_count} channels {_extra}", Refuses(MORE.format(_count)))(
        replaced(lambda path, count=_count, extra=_extra: bands(path.with_suffix(".tif"), count, extra), "images")
    )
case("image: a TIFF of 4 channels of 16 bits", Refuses(MORE.format(4)))(
    replaced(lambda path: bands(path.with_suffix(".tif"), 4, (0,), 16), "images")
)
case("image: a grey TIFF of 4 channels", Refuses(MORE.format(4)))(
    replaced(lambda path: bands(path.with_suffix(".tif"), 4, (0, 0, 0), photometric=1), "images")
)
case("image: a TIFF with alpha", Reads(shown=(6, 6)))(replaced(lambda path: bands(path.with_suffix(".tif"), 4, (2,)), "images"))
case("image: npy", Reads(r"1 mask has no image .*masks/p0\.png\n.*not used: images/p0\.npy", count=5))(
    replaced(lambda path: np.save(path.with_suffix(".npy"), np.zeros((16, 24, 4), np.uint8)), "images")
)


@pytest.mark.parametrize("name", CASES)
def test_data_is_read_right_or_refused_in_one_line(tmp_path, capsys, name):
    """Every case is prepared correctly, with a remark on unused files, or refused in one line with the remedy."""
    build, expected = CASES[name]
    build(tmp_path / "data")
    code, out, err = run(tmp_path / "data", capsys, tmp_path / "store")
    if isinstance(expected, Refuses):
        assert code == 2, out
        (line,) = (line for line in err.splitlines() if not line.startswith(("reading file contents", "preparing ")))
        assert re.search(expected.says, line), line
        return
    assert code == 0, err
    assert re.search(expected.says, out), out
    assert expected.silent is None or expected.silent not in out, out
    (folder,) = (path for path in (tmp_path / "store" / "data").iterdir() if (path / "index.json").is_file())
    data = Prepared.open(folder)
    assert (tuple(data.classes), len(data.names)) == (expected.classes, expected.count)
    assert expected.shown is None or tuple((data.pixels[:, :-1] > 0).sum(axis=0).tolist()) == expected.shown
    assert expected.masks(data)
