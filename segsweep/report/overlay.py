"""Coloured masks, alone or overlaid on their image, and the legend of their classes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from segsweep.config.class_name import is_background
from segsweep.data.dataset import IGNORE, Pixels
from segsweep.data.palette import COLOURS

LINES_PER_SIDE = 400  # an outline's width is the image's short side divided by this
TEXT_PX, TEXTS_PER_SIDE = 11, 45  # minimum height of a legend's text; otherwise the width divided by the second number


LAID_COLOURS = np.concatenate(
    [np.full((1, 3), 255, dtype=np.uint8), COLOURS[1:]]
)  # colours of an overlay, in which class 0 is white


def coloured(mask_HW: Pixels) -> Pixels:
    """Return class numbers (H, W) as colours (H, W, 3), both uint8: class 0 is black, 255 grey, all others differ in hue."""
    return COLOURS[mask_HW]


def background_of(classes: Sequence[str]) -> int | None:
    """Return the number of the class called background (in any spelling), which overlays leave clear; None if there is none."""
    return next((number for number, name in enumerate(classes) if is_background(name)), None)


def overlay(image_HWC: Pixels, mask_HW: Pixels, *, clear: int | None = 0, strength: float = 0.5) -> Pixels:
    """Return an image with its coloured mask overlaid, as (H, W, 3) uint8.

    `image_HWC` is (H, W, 3) and `mask_HW` (H, W), both uint8. Pixels of the class `clear` keep the image (None: no class does).
    `strength` in 0..1 is the opacity of the colours. Every class has an opaque outline inside its own area; where two classes
    touch, both have one.
    """
    assert image_HWC.shape == (*mask_HW.shape, 3), (image_HWC.shape, mask_HW.shape)
    share_HW = np.full(mask_HW.shape, round(255 * strength), dtype=np.uint8)
    share_HW[_outlines(mask_HW)] = 255
    if clear is not None:
        share_HW[mask_HW == clear] = 0
    colours, image = Image.fromarray(LAID_COLOURS[mask_HW]), Image.fromarray(image_HWC)
    return np.asarray(Image.composite(colours, image, Image.fromarray(share_HW)))


def _outlines(mask_HW: Pixels) -> npt.NDArray[np.bool_]:
    """Return the pixels (H, W, bool) with another class within an outline's width to the left, right, above or below."""
    near = np.zeros(mask_HW.shape, dtype=bool)
    for distance in range(1, 1 + max(1, round(min(mask_HW.shape) / LINES_PER_SIDE))):
        differs = mask_HW[distance:] != mask_HW[:-distance]
        near[distance:] |= differs
        near[:-distance] |= differs
        differs = mask_HW[:, distance:] != mask_HW[:, :-distance]
        near[:, distance:] |= differs
        near[:, :-distance] |= differs
    return near


def legend(classes: Sequence[str], numbers: Sequence[int], width_px: int) -> Image.Image:
    """Return an image, `width_px` wide, with the colours and names of classes on white, in as many lines as needed.

    `classes` are the names of all classes, `numbers` the classes to show (255: ignored pixels). The text grows with the width; a
    name that is wider than the image is shortened. Without numbers the image is one blank line.
    """
    size = max(TEXT_PX, width_px // TEXTS_PER_SIDE)
    font, line_px, gap_px = ImageFont.load_default(size), round(1.6 * size), size // 2
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    entries: list[tuple[int, int, int, str]] = []  # left, line, number, text
    left, line = gap_px, 0
    for number in numbers:
        text = "ignored" if number == IGNORE else classes[number]
        while len(text) > 1 and size + 3 * gap_px + measure.textlength(text, font=font) > width_px:
            text = f"{text[:-2]}…"
        wide = size + gap_px + round(measure.textlength(text, font=font))
        if left > gap_px and left + wide + gap_px > width_px:
            left, line = gap_px, line + 1
        entries.append((left, line, number, text))
        left += wide + 2 * gap_px
    image = Image.new("RGB", (width_px, (line + 1) * line_px + gap_px), "white")
    draw = ImageDraw.Draw(image)
    for left, line, number, text in entries:
        top = gap_px + line * line_px
        red, green, blue = LAID_COLOURS[number].tolist()
        draw.rectangle((left, top, left + size - 1, top + size - 1), fill=(red, green, blue), outline="black")
        draw.text((left + size + gap_px, top + size // 2), text, fill="black", font=font, anchor="lm")
    return image
