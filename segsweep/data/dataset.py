"""The protocol of a dataset: examples in a fixed order, class schemes, and a method that reads one example."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
import numpy.typing as npt

from segsweep.config.setting_types import Fit as Fit  # re-exported for readers of datasets

IGNORE = 255  # the mask value of pixels that losses and metrics leave out

FITS: tuple[Fit, ...] = get_args(Fit)

Pixels = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.unsignedinteger]  # uint8, or uint16 for 16-bit files
Progress = Callable[[str, int, int], None]  # activity, number done, total number
Notify = Callable[[str], None]  # shows a line to the user


def discard_line(line: str) -> None:
    """Discard a line for the user: the `Notify` of callers that show none."""


# a protocol: tuples of official splits, and of the per cents of their images that train, validate and test
Division = Sequence[tuple[Sequence[str], Sequence[int]]]


@dataclass(frozen=True)
class Example:
    """One image of a dataset.

    `name`: unique within the dataset.
    `image`, `mask`: paths of its files; None if the reader does not need them.
    `split`: its official split, or "train" for a dataset without splits.
    `stratum`: a label by which subsets are stratified, such as a breed; None for the most frequent class of its mask, except the
    first class.
    `group`: a name that nearly identical images share, such as a video, a patient or a drive: a group is never divided between
    training, validation and test. None for an image without a group.
    """

    name: str
    image: Path | None = None
    mask: Path | None = None
    split: str = "train"
    stratum: str | None = None
    group: str | None = None


class Dataset(Protocol):
    """The interface of every dataset reader. A reader is constructed for one folder; the constructor reads no file."""

    @property
    def name(self) -> str:
        """The name of the dataset in studies and records."""

    @property
    def schemes(self) -> Mapping[str, Sequence[str]]:
        """The names of the classes in the order of their mask values, per scheme; the first scheme is the default.

        An unlabelled dataset has one scheme without classes.
        """

    @property
    def fit(self) -> Fit:
        """The default way to make images square; see `segsweep.data.image_files.square`."""

    @property
    def pool(self) -> Sequence[str]:
        """The official splits that a protocol in per cent, such as 60-20-20, divides."""

    @property
    def protocols(self) -> Mapping[str, Division]:
        """The dataset's protocols by name, which take precedence over per cents of the pool; none for most datasets."""

    def examples(self) -> list[Example]:
        """Return every example, in an order that does not depend on the file system. Raises `UserError`, naming the file."""

    def files(self) -> list[Path]:
        """Return the paths of all files on which the arrays depend; their contents identify the dataset."""

    def revision(self) -> str:
        """Return a text that changes whenever the reader would return other arrays for the same files."""

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:
        """Return the image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers and `IGNORE`, uint8.

        The mask of an unlabelled dataset is (0, 0). uint16 images are converted to 8 bits by one range for the whole dataset, the
        fewest bits that hold its largest value (see `segsweep.data.bit_depth`); a reader that knows a better range returns uint8.

        Raises `UserError`, which names the file, for a file that is unreadable, has no mask, has another size than its mask, or
        has a mask value outside the classes.
        """


def folder_remarks(dataset: Dataset) -> list[str]:
    """Return a reader's remarks on its folder, such as unused files; none for a reader without the method `remarks`."""
    remarks: Callable[[], list[str]] | None = getattr(dataset, "remarks", None)
    return remarks() if remarks is not None else []
