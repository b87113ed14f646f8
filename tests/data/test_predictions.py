from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segsweep.data.palette import COLOURS, palette_png
from segsweep.data.predictions import read_predictions, write_predictions


@pytest.mark.parametrize("classes", [2, 3, 21, 150, 255])
def test_predictions_are_restored_by_name(tmp_path, classes):
    """Class numbers are restored exactly, each with its image's name, in order, for any number of classes."""
    rng = np.random.default_rng(0)
    masks = [rng.integers(classes, size=(9, 7 + number)).astype(np.uint8) for number in range(3)]
    masks[0][0, 0] = classes - 1
    names = ["train2017/ä.jpg", "b b", "c"]
    write_predictions(tmp_path / "p.zip", names, [palette_png(mask, classes) for mask in masks])
    found = list(read_predictions(tmp_path / "p.zip"))
    assert [name for name, _ in found] == names
    assert all(np.array_equal(mask, back) for mask, (_, back) in zip(masks, found, strict=True))


def test_equal_predictions_are_equal_bytes(tmp_path):
    """Two files of equal predictions have equal bytes, so that equal runs have equal artifacts."""
    pngs = [palette_png(np.eye(8, dtype=np.uint8), 2)]
    for name in ("a", "b"):
        write_predictions(tmp_path / name, ["x"], pngs)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(("classes", "bits"), [(2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (255, 8)])
def test_a_png_has_the_bits_that_its_classes_need(classes, bits):
    """The PNG is what Pillow saves without `optimize`, which is slow: the fewest bits per pixel, and colours by class number."""
    mask = np.random.default_rng(0).integers(classes, size=(64, 65)).astype(np.uint8)
    png = palette_png(mask, classes)
    plain, image = BytesIO(), Image.fromarray(mask)
    image.putpalette(COLOURS[:classes].tobytes())
    image.save(plain, "PNG", optimize=False)
    assert png == plain.getvalue()
    assert png[24] == bits
    assert png[png.index(b"PLTE") + 4 :][: 3 * classes] == COLOURS[:classes].tobytes()
    assert np.array_equal(np.asarray(Image.open(BytesIO(png))), mask)


def test_a_blob_of_two_classes_takes_about_hundred_bytes():
    """The PNG of a mask of two classes at 96 px has one bit per pixel and a palette of two colours, and about a hundred bytes."""
    mask = np.zeros((96, 96), dtype=np.uint8)
    mask[20:70, 30:80] = 1
    png = palette_png(mask, 2)
    assert len(png) < 150
    assert png[24] == 1  # bits
    assert png[png.index(b"PLTE") + 4 :][:6] == COLOURS[:2].tobytes()
