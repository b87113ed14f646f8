"""Digests that find identical images, whatever their names, folders and file formats.

Two images are identical if their decoded pixels are equal, at their original size, with all their bits, and upright: a PNG and a
BMP of one image are identical. Images with equal bytes of their files are identical too, even if two readers decode them
differently; a file with several images of a dataset, such as an archive or a volume, identifies none of them. Nearly equal
images and re-encoded photographs are not found.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 16
OF_PIXELS, OF_MASK, OF_FILE = range(3)  # the rows of an image's identity; that of the file is 0 if the image has no separate file
DIGESTS = 3


def image_identity(
    image: npt.NDArray[np.unsignedinteger], mask: npt.NDArray[np.uint8], file: Path | None
) -> npt.NDArray[np.uint8]:
    """Return the digests, (3, 16) uint8, of an image's pixels (H, W, 3), of its mask (H, W), and of its file's bytes."""
    rows = [_pixels(image), _pixels(mask), _bytes(file)]
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(DIGESTS, DIGEST_BYTES)


def unshared_files(files: Sequence[Path | None]) -> list[Path | None]:
    """Return the file of each image of a dataset; None for images that share one file."""
    images = Counter(files)
    return [file if images[file] == 1 else None for file in files]


def _pixels(pixels: npt.NDArray[np.unsignedinteger]) -> bytes:
    found = hashlib.sha256(repr(pixels.shape).encode())
    found.update(np.ascontiguousarray(pixels).data if pixels.size else b"")
    return found.digest()[:DIGEST_BYTES]


def _bytes(file: Path | None) -> bytes:
    try:
        return hashlib.sha256(Path(file).read_bytes()).digest()[:DIGEST_BYTES] if file is not None else bytes(DIGEST_BYTES)
    except OSError:  # a user's dataset may name a path that is not a file
        return bytes(DIGEST_BYTES)
