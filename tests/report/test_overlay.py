"""Coloured masks over their images, and the legend."""

import subprocess
import sys

import numpy as np
import pytest

from segsweep.data.dataset import Pixels
from segsweep.report.overlay import coloured, legend, overlay


def block(picture_px: int = 20, number: int = 1) -> tuple[Pixels, Pixels]:
    """Return an image of noise, and a mask whose middle is one class."""
    picture = np.random.default_rng(0).integers(0, 256, (picture_px, picture_px + 4, 3)).astype(np.uint8)
    mask = np.zeros(picture.shape[:2], dtype=np.uint8)
    mask[5:15, 5:15] = number
    return picture, mask


def test_classes_have_distinct_colours() -> None:
    """Twenty classes have twenty colours; ignored pixels are grey."""
    colours = coloured(np.arange(256, dtype=np.uint8)[None])[0]
    assert len({tuple(colour) for colour in colours[:20]}) == 20
    assert tuple(colours[255]) == (128, 128, 128)


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 1.0])
def test_a_class_is_blended_with_the_image_by_its_strength(strength: float) -> None:
    """Inside a class, every pixel is the stated mixture of image and colour, to within one grey level."""
    picture, mask = block()
    inside = np.s_[6:14, 6:14]
    mixed = (1 - strength) * picture[inside] + strength * coloured(mask)[inside]
    assert np.abs(overlay(picture, mask, strength=strength)[inside] - mixed).max() <= 1


def test_the_clear_class_keeps_the_image_and_others_are_outlined() -> None:
    """The clear class changes nothing up to its edge; the outermost pixels of other classes have their full colour."""
    picture, mask = block(number=2)
    result = overlay(picture, mask)
    assert result.dtype == np.uint8
    assert (result[mask == 0] == picture[mask == 0]).all()
    assert (result[5, 5:15] == coloured(mask)[5, 5:15]).all()
    assert (result[5:15, 14] == coloured(mask)[5:15, 14]).all()


def test_without_a_clear_class_every_class_is_overlaid() -> None:
    """With None, class 0 is overlaid in white: black would only darken the image."""
    picture, mask = block()
    result = overlay(picture, mask, clear=None)
    assert np.abs(result[0] - (255 + picture[0].astype(float)) * 0.5).max() <= 1


def test_outlines_grow_with_the_image() -> None:
    """On an image of 1,200 pixels, an outline is three pixels wide."""
    mask = np.zeros((1200, 1200), dtype=np.uint8)
    mask[:, 600:] = 1
    result = overlay(np.zeros((1200, 1200, 3), dtype=np.uint8), mask)
    full = (result[600] == coloured(mask)[600, 600]).all(axis=-1)
    assert np.flatnonzero(full).tolist() == [600, 601, 602]


def test_a_legend_shows_the_given_classes() -> None:
    """The legend has the colours of the given numbers and no others, and the given width."""
    classes = ["background", *(f"class {number}" for number in range(1, 6))]
    pixels = np.asarray(legend(classes, [2, 5, 255], 300)).reshape(-1, 3)
    shown = {tuple(pixel) for pixel in pixels.tolist()}
    colours = [tuple(colour) for colour in coloured(np.arange(6, dtype=np.uint8)[None])[0].tolist()]
    assert [number for number in range(1, 6) if colours[number] in shown] == [2, 5]


def test_a_legend_has_as_many_lines_as_its_width_requires() -> None:
    """Many classes in little width take several lines; long names are shortened, and nothing exceeds the width."""
    classes = [f"a rather long name of class {number}" for number in range(8)]
    wide, narrow = legend(classes, range(8), 2000), legend(classes, range(8), 90)
    assert (wide.width, narrow.width) == (2000, 90)
    assert narrow.height > 4 * legend(classes, [1], 90).height
    assert (np.asarray(narrow)[:, -1] == 255).all()
    assert (np.asarray(legend(classes, [], 90)) == 255).all()


def test_overlays_need_no_torch() -> None:
    """Drawing loads neither torch nor pandas."""
    code = "import segsweep.report.overlay, sys; assert not {'torch', 'pandas', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
