"""The range of 16-bit images: one for a whole dataset, so that its images stay comparable, and how it becomes 8 bits.

Many sensors have 10, 12 or 14 bits and are stored in files of 16 bits as they are: read as if white were 65535, they are almost
black. A file does not say so. The largest value of a dataset does: the range is that of the fewest bits that hold it.
"""

import numpy as np
import numpy.typing as npt

from segsweep.data.dataset import Levels, Pixels
from segsweep.data.prepared import Prepared

DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners have
FULL = 16


def largest(image: Levels) -> int:
    """Return the largest value of an image of 16 bits, at least 1; 0 for one of 8 bits, which has no range to be found."""
    return max(1, int(image.max())) if image.dtype == np.uint16 else 0


def depth_of(value: int) -> int:
    """Return the fewest bits of `DEPTHS` that hold a value of 0..65535."""
    return next(bits for bits in DEPTHS if value < 2**bits)


def eight_bits(image: Levels, bits: int) -> Pixels:
    """Return an image in 0..255: one of 16 bits cut to its upper 8 of `bits`, one of 8 bits as it is.

    Values beyond the range of `bits` become 255.
    """
    if image.dtype == np.uint8:
        return image.astype(np.uint8, copy=False)
    cut: npt.NDArray[np.uint8] = np.minimum(image >> (bits - 8), 255).astype(np.uint8)
    return cut


def range_remarks(data: Prepared) -> list[str]:
    """Return a line on the range of 16-bit images that do not use all of it; nothing for others."""
    if data.bits is None or data.bits == FULL:
        return []
    return [
        f"16-bit images reach {data.largest} at most, so all are read as images of {data.bits} bits, in which {2**data.bits - 1} "
        "is white; where that is wrong, convert the files to 8 bits"
    ]
