"""Conversion of 16-bit images to 8 bits, by one range for a whole dataset, so that its images stay comparable.

Many sensors have 10, 12 or 14 bits, and their values are stored unscaled in 16-bit files. If white were 65535, such images would
be almost black. A file does not state its range, so the range follows from the largest value of the dataset: the fewest bits
that hold it.
"""

import numpy as np
import numpy.typing as npt

from segsweep.data.dataset import Levels, Pixels
from segsweep.data.prepared import Prepared

DEPTHS = (8, 10, 12, 14, 16)  # bits of cameras and scanners
FULL = 16


def largest(image: Levels) -> int:
    """Return the largest value of a 16-bit image (H, W, 3), at least 1; 0 for an 8-bit image, whose range is known."""
    return max(1, int(image.max())) if image.dtype == np.uint16 else 0


def depth_of(value: int) -> int:
    """Return the fewest bits of `DEPTHS` that hold a value of 0..65535."""
    return next(bits for bits in DEPTHS if value < 2**bits)


def eight_bits(image: Levels, bits: int) -> Pixels:
    """Return an image (H, W, 3), uint8 or uint16, as uint8.

    A 16-bit image with a range of `bits` keeps the upper 8 of these bits; values beyond the range become 255. An 8-bit image is
    returned unchanged.
    """
    if image.dtype == np.uint8:
        return image.astype(np.uint8, copy=False)
    upper: npt.NDArray[np.uint8] = np.minimum(image >> (bits - 8), 255).astype(np.uint8)
    return upper


def range_remarks(data: Prepared) -> list[str]:
    """Return a line on the range of 16-bit images that do not use all 16 bits; no line otherwise."""
    if data.bits is None or data.bits == FULL:
        return []
    return [
        f"16-bit images reach {data.largest} at most, so all are read as images of {data.bits} bits, in which {2**data.bits - 1} "
        "is white; if that is wrong, convert the files to 8 bits"
    ]
