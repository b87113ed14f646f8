"""Opening pictures and masks, and making them square. Formats are told by content, never by the file's name."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from segsweep.data.dataset import IGNORE, Pixels
from segsweep.errors import UserError

Fit = Literal["resize", "crop"]

PNG_START = b"\x89PNG\r\n\x1a\n"
SHADES = {b"\x02\x00": 85, b"\x04\x00": 17}  # by bit depth and colour type (grey) of a PNG, at bytes 24 and 25


def open_picture(path: Path) -> Pixels:
    """Return a picture as (H, W, 3) uint8; the first frame of an animation, transparency dropped, 16 bits cut to 8.

    Raises `UserError` that names the file when it is missing or unreadable, or its numbers have no known white.
    """
    image = _open(path, "picture")
    if image.mode in ("I", "F"):
        raise UserError(f"{path}: picture has mode {image.mode}, 32 bits without a known white; allowed are 8 and 16 bits")
    if image.mode.startswith("I;16"):  # Pillow's own conversion would make everything above 255 white
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "P":  # by way of RGBA, or Pillow warns of a palette with transparency
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def open_mask(path: Path) -> npt.NDArray[np.integer]:
    """Return a mask's numbers as (H, W): palette indices or grey values, never colours.

    Raises `UserError` that names the file when it is missing, unreadable or has colours instead of numbers.
    """
    image = _open(path, "mask")
    if image.format == "JPEG":
        raise UserError(f"{path}: mask is a JPEG, which does not keep numbers exactly; allowed are palette and grey PNG")
    if image.mode not in ("1", "L", "P", "I", "I;16"):
        raise UserError(f"{path}: mask has mode {image.mode}; allowed are palette and grey pictures of class numbers")
    if image.mode == "1":  # true would become 255, which is ignored
        return np.asarray(image).astype(np.uint8)
    return np.asarray(image) // _shade_step(path)


def _shade_step(path: Path) -> int:
    """Return what Pillow has multiplied the numbers of a grey PNG by: those of 2 and 4 bits it spreads over 0..255."""
    with path.open("rb") as file:
        header = file.read(26)
    return SHADES.get(header[24:26], 1) if header.startswith(PNG_START) else 1


def _open(path: Path, what: str) -> Image.Image:
    try:
        with Image.open(path) as image:  # `load` alone leaves the file of a format with frames open
            image.load()
            return image
    except FileNotFoundError:
        raise UserError(f"{path}: {what} is missing") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: {what} cannot be read: {error}") from None


def class_numbers(path: Path | str, values: npt.NDArray[np.integer], mapping: dict[int, int], shape: tuple[int, ...]) -> Pixels:
    """Return a mask with its values replaced by class numbers.

    `mapping` maps the values that a file may hold to class numbers or `IGNORE`; `shape` is that of the picture.
    Raises `UserError` that names the file for another value or another size.
    """
    if values.shape != shape[:2]:
        raise UserError(f"{path}: mask is {_size(values.shape)} but its picture is {_size(shape)} pixels; they must be equal")
    table = np.zeros(max(mapping) + 1, dtype=np.uint8)
    table[list(mapping)] = list(mapping.values())
    foreign = sorted({int(value) for value in np.unique(values)} - set(mapping))
    if foreign:
        allowed = ", ".join(map(str, sorted(mapping))) if len(mapping) < 12 else f"{min(mapping)}..{max(mapping)}"
        raise UserError(f"{path}: mask value {foreign[0]} is outside the classes; allowed are {allowed}")
    numbers: Pixels = table[values]
    return numbers


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def square(image: Pixels, mask: Pixels, image_px: int, fit: Fit) -> tuple[Pixels, Pixels]:
    """Return picture and mask as squares of `image_px`: bilinear with antialiasing, the mask nearest.

    With `crop` the short side is resized to `image_px` and the centre is cut out; with `resize` both sides are resized.
    """
    height, width = mask.shape
    scale = image_px / min(height, width)
    new = (image_px, image_px) if fit == "resize" else (max(image_px, round(width * scale)), max(image_px, round(height * scale)))
    left, top = (new[0] - image_px) // 2, (new[1] - image_px) // 2
    box = (left, top, left + image_px, top + image_px)
    picture = Image.fromarray(image).resize(new, Image.Resampling.BILINEAR).crop(box)
    labels = Image.fromarray(mask).resize(new, Image.Resampling.NEAREST).crop(box)
    return np.asarray(picture), np.asarray(labels)


def dominant_class(mask: Pixels) -> int:
    """Return the most frequent class of a mask other than class 0 and `IGNORE`; 0 where there is no other."""
    counts = np.bincount(mask.ravel(), minlength=256)
    counts[[0, IGNORE]] = 0
    return int(counts.argmax())
