"""Images and masks as data URIs, small enough to embed by the hundred."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from segsweep.report.page.class_colours import CONFUSED, FALSE, IGNORED, MISSED, class_colours, rgb

Pixels = npt.NDArray[np.uint8]

MOST_PX = 256  # longer sides are reduced
QUALITY = 70  # of WebP: a 96 px photo takes about 1.4 kB
IGNORE = 255  # class number of pixels that do not count
MASK_OPACITY, IGNORED_OPACITY = 160, 110  # of 255
OUTLINE = ((255, 255, 255, 255), (0, 0, 0, 190))  # inside of the outline, and outside


def photo_uri(image_HWC: Pixels) -> str:
    """Return an RGB image (H, W, 3) as a WebP data URI."""
    return _uri(Image.fromarray(_reduced(image_HWC)), "webp", quality=QUALITY, method=4)


def mask_uri(mask_HW: Pixels, classes: int, background: int | None) -> str:
    """Return class numbers (H, W) as a PNG data URI whose classes are half transparent colours; the background is clear."""
    colours = [(0, 0, 0, 0) if each is None else (*rgb(each), MASK_OPACITY) for each in class_colours(classes, background)]
    numbers = np.where(mask_HW == IGNORE, classes, mask_HW).astype(np.uint8)
    return _palette_uri(_reduced(numbers), [*colours, (*rgb(IGNORED), IGNORED_OPACITY)])


def error_uri(predicted_HW: Pixels, truth_HW: Pixels, background: int | None) -> str:
    """Return a PNG data URI of the wrong pixels: missed objects, false objects, and confused classes; others are clear.

    Ignored pixels of the truth are clear.
    """
    wrong = (predicted_HW != truth_HW) & (truth_HW != IGNORE)
    kinds = np.where(wrong, 3, 0).astype(np.uint8)
    if background is not None:
        kinds[wrong & (predicted_HW == background)] = 1
        kinds[wrong & (truth_HW == background)] = 2
    return _palette_uri(_reduced(kinds), [(0, 0, 0, 0), *((*rgb(colour), 255) for colour in (MISSED, FALSE, CONFUSED))])


def outline_uri(truth_HW: Pixels) -> str:
    """Return a PNG data URI, twice as large as the mask, with a white and black line between its classes."""
    mask = _reduced(truth_HW).repeat(2, axis=0).repeat(2, axis=1)
    inside, outside = np.zeros(mask.shape, dtype=bool), np.zeros(mask.shape, dtype=bool)
    for axis in (0, 1):
        first, second = (mask[:-1], mask[1:]) if axis == 0 else (mask[:, :-1], mask[:, 1:])
        before, after = (np.s_[:-1], np.s_[1:]) if axis == 0 else (np.s_[:, :-1], np.s_[:, 1:])
        inside[before] |= first > second
        inside[after] |= second > first
        outside[before] |= first < second
        outside[after] |= second < first
    numbers = np.where(inside, 1, np.where(outside, 2, 0)).astype(np.uint8)
    return _palette_uri(numbers, [(0, 0, 0, 0), *OUTLINE])


def gif_uri(file: Path) -> str:
    """Return a GIF file as a data URI."""
    return f"data:image/gif;base64,{b64encode(file.read_bytes()).decode()}"


def _reduced(pixels: Pixels) -> Pixels:
    """Return pixels whose longer side is at most `MOST_PX`: masks by their nearest pixels, images smoothly."""
    height, width = pixels.shape[:2]
    share = MOST_PX / max(height, width)
    if share >= 1:
        return np.ascontiguousarray(pixels)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    way = Image.Resampling.NEAREST if pixels.ndim == 2 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, way))


def _palette_uri(numbers_HW: Pixels, colours: Sequence[tuple[int, int, int, int]]) -> str:
    image = Image.fromarray(numbers_HW)
    image.putpalette([part for colour in colours for part in colour[:3]])
    return _uri(image, "png", transparency=bytes(colour[3] for colour in colours))


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    file = BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind};base64,{b64encode(file.getvalue()).decode()}"
