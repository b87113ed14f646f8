"""Decoding a dataset's pictures into arrays on disk, in a folder that outlives the process, so that a next one goes on.

The folder holds `images.npy`, `masks.npy`, what is known of the originals (`identity.npy`, `shown.npy`, `levels.npy`) and
`marks.npy`, the done-list: per image a checksum of what was decoded, 0 where nothing was. An image counts as decoded only where
its bytes still have that checksum, and no file of the dataset has changed since the folder was begun; so neither a killed
process nor a lost page can leave a wrong image behind.

Images of 16 bits become 8 bits by one range for the dataset, which its largest value decides. It is known once all are decoded:
those that were decoded by a smaller range before that value was met are decoded again, so the result depends on no order.
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
KEPT = (IMAGES_FILE, MASKS_FILE, IDENTITY_FILE, SHOWN_FILE)  # what becomes prepared data as it is


@dataclass(frozen=True)
class Arrays:
    """The arrays of a dataset that is being decoded.

    images (N, S, S, 3), masks (N, S, S) or (N, 0, 0), marks (N,); `identity` and `shown` as in `Prepared`; levels (N, 2) are the
    largest value of a 16-bit original and the bits of the range by which it became 8 bits, both 0 for an 8-bit original.
    """

    images: Pixels
    masks: Pixels
    identity: Pixels
    shown: Pixels
    levels: npt.NDArray[np.uint16]
    marks: npt.NDArray[np.uint64]

    @classmethod
    def at(cls, folder: Path, shape: tuple[int, int, int], classes: int, begun: str) -> "Arrays":
        """Open the arrays of (N, S, S) pictures in a folder, or allocate them: all their space is taken before any is used.

        `begun` says what they are decoded from; arrays that were begun from something else are dropped. Raises `OSError`.
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
        """Return whether a picture and its mask are there as they were decoded."""
        mark = int(self.marks[position])
        return mark > 0 and mark == self._checksum(position)

    def put(
        self, position: int, square: tuple[Pixels, Pixels], identity: Pixels, shown: Pixels, levels: tuple[int, int] = (0, 0)
    ) -> None:
        """Write a square picture with its mask and what is known of the originals, and mark it as decoded."""
        self.images[position], self.masks[position] = square
        self.identity[position], self.shown[position], self.levels[position] = identity, shown, levels
        self.marks[position] = self._checksum(position)

    def _checksum(self, position: int) -> int:
        """Return the checksum of all that is known of a picture, never 0."""
        checksum = 0
        for array in (self.images, self.masks, self.identity, self.shown, self.levels):
            checksum = zlib.crc32(array[position].tobytes(), checksum)
        return 1 + checksum


def _opened(folder: Path, begun: str, labelled: bool) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays that lie in a folder by name, or None where they are not whole or were begun from something else."""
    try:
        if (folder / BEGUN).read_text(encoding="utf-8") != begun:
            return None
        names = [name for name in (*KEPT, LEVELS, MARKS) if labelled or name != MASKS_FILE]
        return {Path(name).stem: np.load(folder / name, mmap_mode="r+") for name in names}
    except (OSError, ValueError, EOFError):
        return None


@dataclass(frozen=True)
class Decoded:
    """What decoding found out: moments (N, 2, 3), pixels per class (N, C + 1), bits and largest value, as `Prepared` has them."""

    moments: Moments
    pixels: Counts
    bits: int | None = None
    largest: int = 0


def read_checked(dataset: Dataset, example: Example, scheme: str) -> tuple[Levels, Pixels]:
    """Return what a reader gives for an example. Raises `UserError` where it raises or gives what no array can take."""
    try:
        image, mask = dataset.read(example, scheme)
    except UserError:
        raise
    except Exception as error:  # a reader of the user's own
        raise UserError(f"{example.name}: cannot be read: {error!r}") from None
    classes = len(dataset.schemes[scheme])
    for what, array, types, form in (("picture", image, "uint8 or uint16", "(H, W, 3)"), ("mask", mask, "uint8", "(H, W)")):
        known = isinstance(array, np.ndarray) and array.dtype.name in types.split(" or ")
        if not known or array.ndim != form.count(",") + 1:
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise UserError(f"{example.name}: {what} is {found}; must be {types} {form}")
    if 0 in image.shape:
        raise UserError(f"{example.name}: picture is {image.shape}: has no pixels")
    if image.shape[2] != 3:
        raise UserError(
            f"{example.name}: picture is {image.shape}, of {image.shape[2]} channels; models see three, red, green and blue: "
            "return (H, W, 3)"
        )
    if classes and mask.shape != image.shape[:2]:
        raise UserError(f"{example.name}: picture is {image.shape} and mask {mask.shape}; must be (H, W, 3) and (H, W)")
    if classes and (foreign := mask[(mask >= classes) & (mask != IGNORE)]).size:
        raise UserError(f"{example.name}: mask value {foreign[0]} is outside the classes; allowed are 0..{classes - 1}, {IGNORE}")
    return image, mask


class _Decoder:
    """Decodes single examples of a dataset into arrays, and remembers the largest value of its 16-bit images."""

    def __init__(self, dataset: Dataset, scheme: str, fit: Fit, examples: Sequence[Example], arrays: Arrays) -> None:
        self._dataset, self._scheme, self._fit, self._examples, self._arrays = dataset, scheme, fit, examples, arrays
        self._files = unshared_files([example.image for example in examples])
        self._classes = len(dataset.schemes[scheme])
        self._largest = 0
        self.found = Decoded(np.zeros((len(examples), 2, 3)), np.zeros((len(examples), self._classes + 1), np.int64))

    def decode(self, position: int, bits: int | None = None) -> UserError | None:
        """Decode an example unless the arrays hold it, or again by a range of `bits`; return what is wrong with it."""
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
        made = square(eight_bits(image, used), mask, self._arrays.images.shape[1], self._fit)
        shown = (pixel_counts(mask, self._classes) > 0).astype(np.uint8)
        self._arrays.put(position, made, image_identity(image, mask, self._files[position]), shown, (value, used))


def decode(
    dataset: Dataset, scheme: str, fit: Fit, image_px: int, examples: Sequence[Example], folder: Path, progress: Progress
) -> Decoded:
    """Decode what a folder does not hold yet into `images.npy` and, for a labelled dataset, `masks.npy`.

    Raises `UserError` that names the first bad files and says how many there are, and `OSError` for a full disk.
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
    """Decode examples in threads. Raises `UserError` that names the first bad files and says how many there are."""
    problems: list[str] = []
    # threads: Pillow reads and resizes without Python's lock, and processes were no faster on COCO and on pets
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        warnings.filterwarnings("ignore", module="PIL|pycocotools")  # odd metadata, deprecations: nothing a user can mend
        for done, problem in enumerate(pool.map(one, positions), start=1):
            if problem is not None:
                problems.append(str(problem))
            progress(done, len(positions))
    if problems:
        more = f"; and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
        raise UserError(f"dataset {name!r}: {'; '.join(problems[:PROBLEMS_SHOWN])}{more}")
