"""Colours of classes, and masks as palette PNGs: their values are class numbers, and viewers show them in colour."""

import colorsys
from io import BytesIO

import numpy as np
from PIL import Image

from segsweep.data.dataset import IGNORE, Pixels

IGNORED_COLOUR = (128, 128, 128)


def _colours() -> Pixels:
    table = np.zeros((256, 3), dtype=np.uint8)
    for number in range(1, IGNORE):
        hue = (0.11 + 0.618034 * (number - 1)) % 1.0
        table[number] = [round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, 0.95)]
    table[IGNORE] = IGNORED_COLOUR
    return table


COLOURS = _colours()  # (256, 3), by class number


def palette_image(mask_HW: Pixels, colours: int = 256) -> Image.Image:
    """Return class numbers (H, W), uint8, as an image whose palette has the colours of the first `colours` numbers."""
    image = Image.fromarray(mask_HW)
    image.putpalette(COLOURS[:colours].tobytes())
    return image


def palette_png(mask_HW: Pixels, classes: int) -> bytes:
    """Return class numbers (H, W), uint8, all below `classes`, as the bytes of a palette PNG with the fewest bits per pixel."""
    file = BytesIO()
    palette_image(mask_HW, classes).save(file, "PNG")  # not optimize=True, which takes up to ten times as long
    return file.getvalue()
