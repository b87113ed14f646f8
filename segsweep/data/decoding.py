"""Decoding of a dataset's images into arrays on disk, in a folder that outlives the process, so that the next process resumes.

The folder holds `images.npy`, `masks.npy`, properties of the originals (`identity.npy`, `shown.npy`, `levels.npy`) and
`marks.npy`, which holds a checksum per decoded image and 0 for the others. An image counts as decoded only if its bytes still
have that checksum and no file of the dataset has changed since the folder was started. So neither a killed process nor a lost
page can leave a wrong image.

16-bit images become 8 bits by one range for the dataset, which follows from its largest value. That value is known only after
all images are decoded: images that were decoded by a smaller range are then decoded again, so the result does not depend on the
order.
"""

import os
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segsweep.data.bit_depth import depth_of, eight_bits, largest
from segsweep.data.dataset import IGNORE, Dataset, Example, Fit, Levels, Pixels, Progress
from segsweep.data.disk_space import allocate
from segsweep.data.identity import DIGEST_BYTES, DIGESTS, image_identity, unshared_files
from segsweep.data.image_files import check_shape, square
from segsweep.data.manifest import stamp_digest
from segsweep.data.prepared import Counts, Moments, image_moments, pixel_counts
from segsweep.errors import UserError
from segsweep.store.contents import IDENTITY_FILE, IMAGES_FILE, MASKS_FILE, SHOWN_FILE

PROBLEMS_SHOWN = 3
BEGUN, LEVELS, MARKS = "begun.txt", "levels.npy", "marks.npy"
KEPT = (IMAGES_FILE, MASKS_FILE, IDENTITY_FILE, SHOWN_FILE)  # files that become prepared data unchanged


@dataclass(frozen=True)
class Arrays:
    """The memory-mapped arrays of a dataset of N images during decoding, at S x S pixels.

    `images`: (N, S, S, 3), uint8. `masks`: (N, S, S), uint8, or (N, 0, 0) without labels. `identity`, `shown`: as in `Prepared`.
    `levels`: (N, 2), uint16, the largest value of a 16-bit original, and the bits of the range by which it became 8 bits; both 0
    for an 8-bit original. `marks`: (N,), uint64, the checksum of a decoded image, 0 for others.
    """

    images: Pixels
    masks: Pixels
    identity: Pixels
    shown: Pixels
    levels: npt.NDArray[np.uint16]
    marks: npt.NDArray[np.uint64]

    @classmethod
    def at(cls, folder: Path, shape: tuple[int, int, int], classes: int, begun: str) -> "Arrays":
        """Open the arrays of images of `shape` (N, S, S) in a folder, or allocate them with all their disk space.

        `begun` identifies the files from which they are decoded; arrays of other files are replaced. Raises `OSError`.
        """
        labelled = classes > 0
        opened = _opened(folder, begun, labelled)
        if opened is None:
            (folder / BEGUN).unlink(missing_ok=True)
            allocate(folder / IMAGES_FILE, (*shape, 3), np.uint8)
            if labelled:
                allocate(folder / MASKS_FILE, shape, np.uint8)
            allocate(folder / IDENTITY_FILE, (shape[0], DIGESTS, DIGEST_BYTES), np.uint8)
            allocate(folder / SHOWN_FILE, (shape[0], classes + 1), np.uint8)
            allocate(folder / LEVELS, (shape[0], 2), np.uint16)
            allocate(folder / MARKS, shape[:1], np.uint64)
            (folder / BEGUN).write_text(begun, encoding="utf-8")
            opened = _opened(folder, begun, labelled)
        assert opened is not None
        return cls(**{"masks": np.empty((shape[0], 0, 0), np.uint8), **opened})

    def holds(self, position: int) -> bool:
        """Return whether an image and its mask are decoded and undamaged."""
        mark = int(self.marks[position])
        return mark > 0 and mark == self._checksum(position)

    def put(
        self, position: int, square: tuple[Pixels, Pixels], identity: Pixels, shown: Pixels, levels: tuple[int, int] = (0, 0)
    ) -> None:
        """Write a square image (S, S, 3) with its mask (S, S) and the properties of its originals, and mark it as decoded."""
        self.images[position], self.masks[position] = square
        self.identity[position], self.shown[position], self.levels[position] = identity, shown, levels
        self.marks[position] = self._checksum(position)

    def _checksum(self, position: int) -> int:
        """Return the checksum of the rows of an image in all arrays, never 0."""
        checksum = 0
        for array in (self.images, self.masks, self.identity, self.shown, self.levels):
            checksum = zlib.crc32(array[position].tobytes(), checksum)
        return 1 + checksum


def _opened(folder: Path, begun: str, labelled: bool) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays of a folder by name, or None if they are incomplete or were decoded from other files."""
    try:
        if (folder / BEGUN).read_text(encoding="utf-8") != begun:
            return None
        names = [name for name in (*KEPT, LEVELS, MARKS) if labelled or name != MASKS_FILE]
        return {Path(name).stem: np.load(folder / name, mmap_mode="r+") for name in names}
    except (OSError, ValueError, EOFError):
        return None


@dataclass(frozen=True)
class Decoded:
    """Properties of decoded images: moments (N, 2, 3), pixels per class (N, C + 1), bits and largest value, as in `Prepared`."""

    moments: Moments
    pixels: Counts
    bits: int | None = None
    largest: int = 0


def read_checked(dataset: Dataset, example: Example, scheme: str) -> tuple[Levels, Pixels]:
    """Return the image (H, W, 3), uint8 or uint16, and the mask (H, W), uint8, that a reader returns for an example.

    Raises `UserError` if the reader raises, or returns other types, shapes or class numbers.
    """
    try:
        image, mask = dataset.read(example, scheme)
    except UserError:
        raise
    except Exception as error:  # a user's reader may raise anything
        raise UserError(f"{example.name}: cannot be read: {error!r}") from None
    classes = len(dataset.schemes[scheme])
    for what, array, types, form in (("image", image, "uint8 or uint16", "(H, W, 3)"), ("mask", mask, "uint8", "(H, W)")):
        known = isinstance(array, np.ndarray) and array.dtype.name in types.split(" or ")
        if not known or array.ndim != form.count(",") + 1:
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise UserError(f"{example.name}: {what} is {found}; must be {types} {form}")
    if 0 in image.shape:
        raise UserError(f"{example.name}: image is {image.shape}: has no pixels")
    if image.shape[2] != 3:
        raise UserError(
            f"{example.name}: image is {image.shape}, with {image.shape[2]} channels; models need three, red, green and blue: "
            "return (H, W, 3)"
        )
    if classes and mask.shape != image.shape[:2]:
        raise UserError(f"{example.name}: image is {image.shape} and mask {mask.shape}; must be (H, W, 3) and (H, W)")
    if classes and (foreign := mask[(mask >= classes) & (mask != IGNORE)]).size:
        raise UserError(f"{example.name}: mask value {foreign[0]} is outside the classes; allowed are 0..{classes - 1}, {IGNORE}")
    return image, mask


class _Decoder:
    """Decodes single examples of a dataset into arrays, and tracks the largest value of its 16-bit images."""

    def __init__(self, dataset: Dataset, scheme: str, fit: Fit, examples: Sequence[Example], arrays: Arrays) -> None:
        self._dataset, self._scheme, self._fit, self._examples, self._arrays = dataset, scheme, fit, examples, arrays
        self._files = unshared_files([example.image for example in examples])
        self._classes = len(dataset.schemes[scheme])
        self._largest = 0
        self.found = Decoded(np.zeros((len(examples), 2, 3)), np.zeros((len(examples), self._classes + 1), np.int64))

    def decode(self, position: int, bits: int | None = None) -> UserError | None:
        """Decode an example unless the arrays hold it; with `bits`, decode it again by this range. Return the error, if any."""
        arrays = self._arrays
        if bits is not None or not arrays.holds(position):
            try:
                image, mask = read_checked(self._dataset, self._examples[position], self._scheme)
                height, width = image.shape[:2]
                check_shape(self._examples[position].name, width, height, arrays.images.shape[1], self._fit)
            except UserError as error:
                return error
            self._put(position, image, mask, bits)
        self.found.moments[position] = image_moments(arrays.images[position])
        self.found.pixels[position] = pixel_counts(arrays.masks[position], self._classes)
        return None

    def _put(self, position: int, image: Levels, mask: Pixels, bits: int | None) -> None:
        value = largest(image)
        self._largest = max(self._largest, value)
        used = 0 if value == 0 else bits or depth_of(self._largest)
        squared = square(eight_bits(image, used), mask, self._arrays.images.shape[1], self._fit)
        shown = (pixel_counts(mask, self._classes) > 0).astype(np.uint8)
        self._arrays.put(position, squared, image_identity(image, mask, self._files[position]), shown, (value, used))


def decode(
    dataset: Dataset, scheme: str, fit: Fit, image_px: int, examples: Sequence[Example], folder: Path, progress: Progress
) -> Decoded:
    """Decode the examples that a folder does not hold yet into `images.npy` and, for a labelled dataset, `masks.npy`.

    Raises `UserError`, which names the first bad files and their number, and `OSError` for a full disk.
    """
    begun = f"{stamp_digest(dataset.files())} {len(examples)}"
    arrays = Arrays.at(folder, (len(examples), image_px, image_px), len(dataset.schemes[scheme]), begun)
    decoder = _Decoder(dataset, scheme, fit, examples, arrays)
    what = f"preparing {dataset.name} at {image_px} px"
    _all(dataset.name, decoder.decode, range(len(examples)), partial(progress, what))
    if not (value := int(arrays.levels[:, 0].max())):
        return decoder.found
    bits = depth_of(value)
    again = np.flatnonzero((arrays.levels[:, 0] > 0) & (arrays.levels[:, 1] != bits)).tolist()
    _all(dataset.name, partial(decoder.decode, bits=bits), again, partial(progress, f"{what}, by {bits} bits"))
    return replace(decoder.found, bits=bits, largest=value)


def _all(
    name: str, one: Callable[[int], UserError | None], positions: Sequence[int], progress: Callable[[int, int], None]
) -> None:
    """Decode examples in threads. Raises `UserError`, which names the first bad files and their number."""
    problems: list[str] = []
    # threads: Pillow reads and resizes without Python's lock, and processes were not faster on COCO and on pets
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        warnings.filterwarnings("ignore", module="PIL|pycocotools")  # odd metadata, deprecations: a user cannot repair them
        for done, problem in enumerate(pool.map(one, positions), start=1):
            if problem is not None:
                problems.append(str(problem))
            progress(done, len(positions))
    if problems:
        more = f"; and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
        raise UserError(f"dataset {name!r}: {'; '.join(problems[:PROBLEMS_SHOWN])}{more}")
