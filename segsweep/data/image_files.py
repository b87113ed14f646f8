"""Opening images and masks, and making them square. The format is detected from the content, never from the file's name."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from segsweep.data.bit_depth import FULL, eight_bits
from segsweep.data.dataset import IGNORE, Example, Fit, Levels, Pixels
from segsweep.data.listing import case_hint
from segsweep.errors import UserError

BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES, EXTRA_SAMPLES, SUBFILE = 0x0102, 0x0106, 0x0115, 0x0152, 0x00FE  # tags of TIFF
CMYK, ALPHAS, SMALLER_PAGE = 5, (1, 2), 1  # values of TIFF's tags: of PHOTOMETRIC, of EXTRA_SAMPLES, a bit of SUBFILE
TIFF_SUFFIXES = (".tif", ".tiff")
ORIENTATION = 0x0112  # the EXIF tag for the orientation of the camera; 1 is upright
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = tuple(UPRIGHT[turn] for turn in (5, 6, 7, 8))  # transposes that exchange width and height
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # big, little, native
PNG_START = b"\x89PNG\r\n\x1a\n"
SHADES = {b"\x02\x00": 85, b"\x04\x00": 17}  # Pillow's factor, by bit depth and colour type (grey) of a PNG: bytes 24 and 25


def open_image(path: Path, as_shown: bool = True, bits: int = FULL) -> Pixels:
    """Return an image as (H, W, 3) uint8; a 16-bit image is converted from a range of `bits`. See `open_levels`."""
    return eight_bits(open_levels(path, as_shown), bits)


def open_levels(path: Path, as_shown: bool = True) -> Levels:
    """Return an image as (H, W, 3): uint16 for a 16-bit file, otherwise uint8; of an animation, the first frame.

    Transparency is dropped. An image whose EXIF asks for a rotation is rotated upright, as every viewer shows it, unless
    `as_shown` is false.

    Raises `UserError`, which names the file, if it is missing or unreadable, if the value of white is unknown, or if it has more
    than three channels besides transparency.
    """
    image = _open(path, "image")
    turn = _rotation(image) if as_shown else None
    if (levels := _sixteen_bits(path, image)) is not None:
        return levels if turn is None else _rotated(levels, turn)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "P":  # without the conversion to RGBA, Pillow warns about a palette with transparency
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _sixteen_bits(path: Path, image: Image.Image) -> npt.NDArray[np.uint16] | None:
    """Return a 16-bit image as stored, (H, W, 3) uint16; None for an 8-bit image. Raises `UserError` for other number formats.

    Grey images have one of Pillow's modes `I;16`, or `I` in earlier versions. Of colour images, Pillow keeps only the upper 8
    bits.
    """
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey: npt.NDArray[np.integer] = np.asarray(image)
        if grey.min() >= 0 and grey.max() < 2**FULL:
            return np.repeat(grey.astype(np.uint16)[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise UserError(
            f"{path}: image has mode {image.mode}, 32 bits without a known value of white; allowed are 8 and 16 bits: "
            "convert all images by the same factor"
        )
    png = image.format == "PNG" and _png_start(path)[24] == FULL
    tiff = image.format == "TIFF" and FULL in np.ravel(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, ()))
    if not (png or tiff):
        return None
    upper = np.asarray(image.convert("RGB")).astype(np.uint16) * np.uint16(256)
    return upper + _lower_bytes(path)


def _lower_bytes(path: Path) -> Pixels:
    """Return the lower 8 bits of an image with 16 bits per colour, (H, W, 3); zeros (1, 1, 1) if Pillow cannot read them.

    Pillow keeps one byte of each number: the upper one, by the byte order of the file's raw mode (`RGB;16B`). With the opposite
    byte order, it keeps the lower one.
    """
    with Image.open(path) as image:
        image.tile = [_in_other_order(tile) for tile in image.tile]
        try:
            image.load()
        except (OSError, ValueError):  # Pillow has no raw mode of the opposite order for grey with transparency
            return np.zeros((1, 1, 1), np.uint8)
        return np.asarray(image.convert("RGB"))


def _in_other_order(tile: Any) -> Any:
    """Return a tile of an unloaded image with the opposite byte order in its raw mode."""
    *head, arguments = tile
    mode = arguments if isinstance(arguments, str) else arguments[0]
    other = mode[:-1] + OTHER_ORDER.get(mode[-1], mode[-1])
    changed = (*head, other if isinstance(arguments, str) else (other, *arguments[1:]))
    return type(tile)._make(changed) if hasattr(tile, "_make") else changed


def _rotated(levels: npt.NDArray[np.uint16], turn: Image.Transpose) -> npt.NDArray[np.uint16]:
    """Return an array (H, W, 3) rotated as Pillow rotates an image."""
    planes = [Image.fromarray(np.ascontiguousarray(levels[..., channel])).transpose(turn) for channel in range(3)]
    return np.stack([np.asarray(plane).astype(np.uint16) for plane in planes], axis=2)


def open_mask(path: Path) -> npt.NDArray[np.integer]:
    """Return a mask's numbers as (H, W) integers: palette indices or grey values, never colours; upright like its image.

    Raises `UserError`, which names the file, if it is missing or unreadable, or if it has colours instead of numbers.
    """
    image = _open(path, "mask")
    if image.format == "JPEG":
        raise UserError(f"{path}: mask is a JPEG, which does not keep numbers exactly; allowed are palette and grey PNG")
    if image.mode not in ("1", "L", "P", "I", "I;16"):
        raise UserError(f"{path}: mask has mode {image.mode}; allowed are palette and grey images of class numbers 0, 1, 2 ...")
    if (turn := _rotation(image)) is not None:
        image = image.transpose(turn)
    if image.mode == "1":  # Pillow's conversion to 8 bits would turn true into 255, which is ignored
        return np.asarray(image).astype(np.uint8)
    return np.asarray(image) // _shade_step(path)


def _rotation(image: Image.Image) -> Image.Transpose | None:
    """Return the transpose that rotates an image upright; None if it is upright, or if its metadata cannot be read."""
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged metadata may raise anything; viewers ignore it too
        return None


def _shade_step(path: Path) -> int:
    """Return the factor by which Pillow multiplied the numbers of a grey PNG: it scales 2 and 4 bits to 0..255."""
    header = _png_start(path)
    return SHADES.get(header[24:26], 1) if header.startswith(PNG_START) else 1


def _png_start(path: Path) -> bytes:
    """Return the first bytes of a file, up to the bit depth and the colour type of a PNG."""
    with path.open("rb") as file:
        return file.read(26)


def _open(path: Path, what: str) -> Image.Image:
    try:
        _check_channels(path)
        with Image.open(path) as image:  # without `with`, `load` leaves the file of a format with frames open
            _check_pages(path, image)
            image.load()
            return image
    except FileNotFoundError:
        raise UserError(f"{path}: {what} is missing{case_hint(path)}") from None
    except Image.DecompressionBombError as error:
        raise UserError(_too_large(path, what, error)) from None
    except UnidentifiedImageError as error:
        reason = "the file is empty" if path.stat().st_size == 0 else str(error)
        raise UserError(f"{path}: {what} cannot be read: {reason}") from None
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path}: {what} cannot be read: {error}") from None


def _too_large(path: Path, what: str, error: Exception) -> str:
    """Return the message for an image beyond the size that Pillow reads."""
    pixels = re.search(r"[0-9]+", str(error))
    size = f"{int(pixels[0]) / 1e6:.0f} megapixels" if pixels else "too many pixels"
    most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
    return f"{path}: {what} has {size}; allowed are at most {most}: cut it into tiles, or make it smaller"


def _check_channels(path: Path) -> None:
    """Raise `UserError` for a TIFF with more channels than red, green and blue; Pillow does not read other formats with more."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return
    try:
        with path.open("rb") as file:
            tags = ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
        extra = np.ravel(tags.get(EXTRA_SAMPLES, ())).tolist()
        samples, inks = int(tags.get(SAMPLES, 1)), tags.get(PHOTOMETRIC) == CMYK
    except Exception:  # not a TIFF, or a damaged one: opening it reports the error
        return
    channels = samples - sum(kind in ALPHAS for kind in extra)
    if channels not in ((4,) if inks else (1, 3)):
        raise UserError(
            f"{path}: has {samples} channels; models need three, red, green and blue: save three of them, "
            "or write a dataset reader that returns three"
        )


def _check_pages(path: Path, image: Image.Image) -> None:
    """Raise `UserError` for a TIFF of several images; smaller copies of its first one do not count."""
    if image.format != "TIFF" or (count := getattr(image, "n_frames", 1)) == 1:
        return
    pages = 0
    for number in range(count):
        image.seek(number)
        pages += not int(getattr(image, "tag_v2", {}).get(SUBFILE, 0)) & SMALLER_PAGE
    image.seek(0)
    if pages > 1:
        raise UserError(f"{path}: holds {pages} images, of which only one would be read; save each in a separate file")


def check_same_way_up(image_path: Path, mask_path: Path) -> None:
    """Raise `UserError` if an image's EXIF asks for a rotation, and it is unknown whether its mask is drawn on the rotated image.

    It is known if the mask's height differs from its width, and if the mask's EXIF asks for a rotation as well.
    """
    try:
        with Image.open(mask_path) as mask:
            known = _rotation(mask) is not None or turns_alike(image_path, mask.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # reading the files reports the error
        return
    if not known:
        raise UserError(
            f"{image_path}: its EXIF asks for a rotation, and the size of its mask does not show whether the mask is drawn "
            "on the rotated image; save the image upright, without EXIF rotation (mogrify -auto-orient), or give the mask the "
            "same EXIF rotation"
        )


def turns_alike(path: Path, size: tuple[int, int]) -> bool:
    """Return whether a size (width, height) determines if it belongs to the image as stored or as rotated by its EXIF.

    It does unless the image has this size both ways. It does also if the image is not rotated.
    """
    with Image.open(path) as image:
        turn = _rotation(image)
        return turn is None or image.size != size or (turn in SIDEWAYS and image.width != image.height)


def read_pair(image_path: Path | None, mask_path: Path | None, values: Mapping[int, int]) -> tuple[Levels, Pixels]:
    """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers, uint8.

    `values` is the mapping of `class_numbers`. The mask must have the size of the upright image. Raises `UserError`, which names
    the file.
    """
    return read_pair_with(image_path, mask_path, lambda path, numbers: class_numbers(path, numbers, values))


def read_pair_with(
    image_path: Path | None, mask_path: Path | None, numbered: Callable[[Path, npt.NDArray[np.integer]], Pixels]
) -> tuple[Levels, Pixels]:
    """Return an image (H, W, 3), uint8 or uint16, and its mask (H, W), uint8, converted by a function.

    `numbered` maps the mask's path, for its errors, and the mask's numbers (H, W) to class numbers (H, W).
    """
    assert image_path is not None
    assert mask_path is not None
    image, numbers = open_levels(image_path), open_mask(mask_path)
    if numbers.shape != image.shape[:2]:
        turned = open_levels(image_path, as_shown=False).shape != image.shape
        hint = "the image's EXIF asks for a rotation: save both with the same orientation" if turned else "they must be equal"
        sizes = f"mask is {_size(numbers.shape)} but its image is {_size(image.shape)} pixels"
        raise UserError(f"{mask_path}: {sizes}; {hint}")
    return image, numbered(mask_path, numbers)


def pair_files(examples: Sequence[Example]) -> list[Path]:
    """Return the paths of the images and masks of examples."""
    return [path for example in examples for path in (example.image, example.mask) if path]


def class_numbers(path: Path | str, values: npt.NDArray[np.integer], mapping: Mapping[int, int]) -> Pixels:
    """Return a mask (H, W), uint8, whose values are replaced by class numbers.

    `values` (H, W) are those of the file; `mapping` maps the allowed ones to class numbers or `IGNORE`. Raises `UserError`, which
    names the file, for another value.
    """
    table = np.zeros(max(mapping) + 1, dtype=np.uint8)
    table[list(mapping)] = list(mapping.values())
    foreign = sorted({int(value) for value in np.unique(values)} - set(mapping))
    if foreign:
        known = sorted(set(mapping) - {IGNORE})
        long = len(known) > 11 and known == list(range(known[0], known[-1] + 1))
        most = f"{known[0]}..{known[-1]}" if long else ", ".join(map(str, known))
        allowed = f"{most}, {IGNORE}" if IGNORE in mapping else most
        raise UserError(f"{path}: mask value {foreign[0]} is outside the classes; allowed are {allowed}")
    numbers: Pixels = table[values]
    return numbers


def halved(path: Path | str, values: npt.NDArray[np.integer]) -> Pixels:
    """Return a mask (H, W) of 0..255 as 0 and 1, uint8: values of at least 128 become 1.

    Raises `UserError`, which names the file, if its largest value lies in 1..127: such a mask holds other numbers.
    """
    if 0 < values.max() < 128:
        raise UserError(f"{path}: mask has values from 0 to {values.max()}; expected 0 for background and 255 for the foreground")
    return (values >= 128).astype(np.uint8)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def square(image: Pixels, mask: Pixels, image_px: int, fit: Fit) -> tuple[Pixels, Pixels]:
    """Return an image (H, W, 3) and its mask (H, W) as squares of side `image_px`, all uint8.

    Masks are always resized by the nearest pixel. A mask (0, 0) is returned unchanged. `fit` is one of:

    - `resize`: both sides of the image are resized, bilinear with antialiasing.
    - `nearest`: both sides of the image are resized by the nearest pixel.
    - `crop`: the short side is resized to `image_px`, bilinear with antialiasing, and the centre is cut out.
    - `raw-crop`: the centre is cut out of the unscaled image. Only an image whose short side is below `image_px` is resized
    first,
      as with `crop`; nothing is padded.
    """
    height, width = image.shape[:2]
    new = size_before_cut(width, height, image_px, fit)
    left, top = (new[0] - image_px) // 2, (new[1] - image_px) // 2
    box = (left, top, left + image_px, top + image_px)
    squared = np.asarray(resized(image, new, fit).crop(box))
    if mask.size == 0:
        return squared, mask
    return squared, np.asarray(Image.fromarray(mask).resize(new, Image.Resampling.NEAREST).crop(box))


def resized(image: Pixels, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Return an image (H, W, 3), uint8, at a size (width, height): bilinear with antialiasing, or nearest for `nearest`."""
    return Image.fromarray(image).resize(size, Image.Resampling.NEAREST if fit == "nearest" else Image.Resampling.BILINEAR)


def check_shape(name: str, width: int, height: int, image_px: int, fit: Fit) -> None:
    """Raise `UserError` for an image so thin that its enlargement, before a square is cut out, would not fit the memory."""
    before = size_before_cut(width, height, image_px, fit)
    if before[0] * before[1] > 2 * (Image.MAX_IMAGE_PIXELS or before[0] * before[1]) and before != (width, height):
        raise UserError(
            f"{name}: image of {width}x{height} pixels is too thin for fit={fit}, which would enlarge it to "
            f"{before[0]}x{before[1]}; use fit=resize, or remove it"
        )


def size_before_cut(width: int, height: int, image_px: int, fit: Fit) -> tuple[int, int]:
    """Return the width and height to which `square` resizes an image before it cuts out the centre."""
    if fit in ("resize", "nearest"):
        return image_px, image_px
    if fit == "raw-crop" and min(width, height) >= image_px:
        return width, height
    scale = image_px / min(height, width)
    return max(image_px, round(width * scale)), max(image_px, round(height * scale))
