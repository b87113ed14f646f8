"""What a dataset is: examples in a fixed order, class schemes, and a way to read one example."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
import numpy.typing as npt

from segsweep.config.setting_types import Fit as Fit  # exported here too, where datasets are described

IGNORE = 255  # the mask value that no loss and no metric counts

FITS: tuple[Fit, ...] = get_args(Fit)

Pixels = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.unsignedinteger]  # uint8, or uint16 where files have 16 bits
Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many
Notify = Callable[[str], None]  # takes a line for the user


def discard_line(line: str) -> None:
    """Drop a line for the user."""


# a protocol as what it divides: official splits, and what per cents of them train, validate and test
Division = Sequence[tuple[Sequence[str], Sequence[int]]]


@dataclass(frozen=True)
class Example:
    """One picture of a dataset.

    `name` is unique within the dataset; `split` the official split that it belongs to ("train" where there is none);
    `stratum` a label to stratify by (a breed, say), or None to take the most frequent class but the first of its mask;
    `group` what its image shares with others that are nearly the same (a video, a patient, a drive): a group is never
    divided between training, validation and test. None where the image stands alone.
    """

    name: str
    image: Path | None = None
    mask: Path | None = None
    split: str = "train"
    stratum: str | None = None
    group: str | None = None


class Dataset(Protocol):
    """What every reader offers. A reader is made for one folder; making one reads nothing."""

    @property
    def name(self) -> str:
        """The name that studies use."""

    @property
    def schemes(self) -> Mapping[str, Sequence[str]]:
        """The names of the classes in the order of their mask values, per scheme; the first scheme is the default.

        An unlabelled dataset has one scheme of no classes.
        """

    @property
    def fit(self) -> Fit:
        """How an image becomes square, unless a spec says otherwise; see `segsweep.data.image_files.square`."""

    @property
    def pool(self) -> Sequence[str]:
        """The official splits that a protocol in per cent, as 60-20-20, divides."""

    @property
    def protocols(self) -> Mapping[str, Division]:
        """The dataset's own protocols by name, which go before per cents of the pool; none for most."""

    def examples(self) -> list[Example]:
        """Return every example, in an order that does not depend on the file system. Raises `UserError` naming the file."""

    def files(self) -> list[Path]:
        """Return every file that the arrays depend on; their contents are the dataset's identity."""

    def revision(self) -> str:
        """Return a text that changes whenever the reader would give other arrays for the same files."""

    def read(self, example: Example, scheme: str) -> tuple[Levels, Pixels]:
        """Return the image (H, W, 3), uint8 or uint16, and its mask (H, W) of class numbers and `IGNORE`, uint8.

        Images of uint16 are brought to 8 bits by one range for the whole dataset, the fewest bits that hold its largest value
        (see `segsweep.data.bit_depth`); a reader that knows its range better returns uint8. The mask of an unlabelled dataset
        is (0, 0).
        Raises `UserError` that names the file: unreadable, without a mask, of another size than its mask, or with a
        mask value outside the classes.
        """


def folder_remarks(dataset: Dataset) -> list[str]:
    """Return what a reader says of the files in its folder, as those that it does not use; nothing where it says nothing."""
    remarks: Callable[[], list[str]] | None = getattr(dataset, "remarks", None)
    return remarks() if remarks is not None else []
