"""Images on the page: small, complete, described, and with distinguishable colours."""

import base64
import re
from io import BytesIO
from itertools import combinations

import numpy as np
import numpy.typing as npt
import page_samples as samples
import pytest
from parsed_markup import parsed, texts, with_class
from PIL import Image

from segsweep.report.page.class_colours import CLASS_COLOURS, class_colours, rgb
from segsweep.report.page.embedded_images import MOST_PX, Pixels, error_uri, mask_uri, outline_uri, photo_uri
from segsweep.report.page.image_grid import image_grid

Floats = npt.NDArray[np.float64]
# Machado et al. 2009, severity 1: linear RGB as seen with protanopia and deuteranopia
VIEWS = (
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
)


def decoded(uri: str) -> Pixels:
    """Return the red, green, blue and opacity of an embedded image."""
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def lab(colour: str, view: Floats) -> Floats:
    """Return a colour in CIELAB (D65) as someone with a view sees it."""
    parts = np.array(rgb(colour)) / 255
    linear = np.clip(view @ np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4), 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(("classes", "least"), [(8, 30), (20, 15)])
def test_class_colours_differ_for_every_kind_of_colour_vision(classes: int, least: float) -> None:
    """Any two of the first colours are far apart in CIELAB, also with protanopia and deuteranopia."""
    distances = [
        float(np.linalg.norm(lab(one, view) - lab(two, view)))
        for view in VIEWS
        for one, two in combinations(CLASS_COLOURS[:classes], 2)
    ]
    assert min(distances) >= least


def test_every_image_is_embedded_once_and_every_prediction_over_it() -> None:
    """Rows times columns of tiles share one photo and one outline per row; each prediction has a mask and its errors."""
    root = parsed(image_grid(samples.images(rows=2, columns=3)))
    uris = [node.get("href", "") for node in root.iter("image")]
    assert sum(uri.startswith("data:image/webp") for uri in uris) == 2
    assert len(with_class(root, "tile")) == 2 * (2 + 3)
    assert len(with_class(root, "mask")) == 2 * (1 + 3)
    assert len(with_class(root, "errors")) == 2 * 3
    targets = {node.get("id") for node in root.iter("image")}
    assert all(node.get("href", "")[1:] in targets for node in root.iter("use"))


def test_every_tile_is_described() -> None:
    """A tile's text names the image, the cell, the classes with their shares, the score and the share of wrong pixels."""
    tile = with_class(parsed(image_grid(samples.images())), "tile")[3]
    assert tile.get("role") == "img"
    assert tile.get("tabindex") == "0"
    text = tile.get("aria-label", "")
    shown = r"background 94 %, <script>.* 6 %, IoU 89\.0, 2\.2 % of pixels wrong"
    assert re.fullmatch(rf"image-0, imagenet: {shown}", text)


def test_twenty_one_classes_all_have_a_colour_and_a_legend() -> None:
    """All classes but the background are in the legend, each with its own colour."""
    legend = with_class(parsed(image_grid(samples.images(classes=21))), "legend")[0]
    fills = [node.get("fill") for node in legend.findall("p[1]//rect")]
    assert len(set(fills)) == len(fills) == 21  # 20 classes, and ignored pixels
    assert all(f"class {number}" in texts(legend) for number in range(2, 21))
    assert class_colours(300, None).count(CLASS_COLOURS[0]) == 15


def test_masks_and_errors_have_the_right_pixels() -> None:
    """A mask is clear at the background and coloured elsewhere; errors tell missed, false and confused pixels apart."""
    truth = np.array([[0, 1, 1, 2, 255]], dtype=np.uint8)
    predicted = np.array([[1, 1, 0, 1, 0]], dtype=np.uint8)
    mask, errors = decoded(mask_uri(truth, 3, 0)), decoded(error_uri(predicted, truth, 0))
    assert mask[0, 0, 3] == 0
    assert tuple(mask[0, 1, :3]) == rgb(CLASS_COLOURS[0])
    assert tuple(mask[0, 3, :3]) == rgb(CLASS_COLOURS[1])
    assert (errors[0, :, 3] > 0).tolist() == [True, False, True, True, False]
    assert len({tuple(errors[0, place]) for place in (0, 2, 3)}) == 3


def test_an_outline_follows_the_border_between_classes() -> None:
    """At twice the size, the pixels on both sides of a border are drawn, and no others."""
    truth = np.zeros((4, 4), dtype=np.uint8)
    truth[:, 2:] = 1
    drawn = decoded(outline_uri(truth))[..., 3] > 0
    assert drawn.shape == (8, 8)
    assert np.flatnonzero(drawn.any(axis=0)).tolist() == [3, 4]


def test_large_images_are_reduced_and_small_masks_are_small() -> None:
    """No embedded image is larger than needed; a mask of two classes at 96 px takes well under 200 bytes."""
    assert decoded(photo_uri(np.zeros((600, 300, 3), dtype=np.uint8))).shape[:2] == (MOST_PX, MOST_PX // 2)
    mask = np.zeros((96, 96), dtype=np.uint8)
    mask[20:60, 20:60] = 1
    assert len(base64.b64decode(mask_uri(mask, 2, 0).partition(",")[2])) < 200
