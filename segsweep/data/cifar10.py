"""CIFAR-10 (Krizhevsky 2009): 32x32 images of ten kinds, without masks, for self-supervised stages.

Official layout: `cifar-10-batches-py/{data_batch_1..5,test_batch}`, pickles of a table of bytes. The unpickler allows only the
objects that such a file needs and refuses everything else, so that no file can run code. The kind is the stratum of an image and
is used for nothing else.
"""

import codecs
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from segsweep.data.dataset import Division, Example, Fit, Pixels
from segsweep.errors import UserError

KINDS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {**{f"data_batch_{number}": "train" for number in range(1, 6)}, "test_batch": "test"}
ROW = 3 * 32 * 32  # red, green and blue planes


@dataclass(frozen=True)
class Batch:
    """The content of one file: images (N, 32, 32, 3), uint8, and their N labels 0..9."""

    images: Pixels
    labels: Sequence[int]


@dataclass(frozen=True)
class Cifar10:
    """Reader for a folder that holds `cifar-10-batches-py`, or for that folder itself."""

    folder: Path
    name: str = "cifar10"
    fit: ClassVar[Fit] = "resize"
    pool: ClassVar[Sequence[str]] = ("train", "test")
    protocols: ClassVar[Mapping[str, Division]] = {}
    schemes: ClassVar[Mapping[str, Sequence[str]]] = {"unlabelled": ()}

    @cached_property
    def _batches(self) -> dict[str, Batch]:
        return {path.name: read_batch(path) for path in self.files()}

    def examples(self) -> list[Example]:
        """Return the images in the order of the files."""
        return [
            Example(f"{name}/{number:05d}", split=BATCHES[name], stratum=KINDS[label])
            for name, batch in self._batches.items()
            for number, label in enumerate(batch.labels)
        ]

    def files(self) -> list[Path]:
        """Return the paths of the batch files."""
        below = self.folder / "cifar-10-batches-py"
        return [(below if below.is_dir() else self.folder) / name for name in BATCHES]

    def revision(self) -> str:
        """Return the version of this reader, which changes when it returns other arrays."""
        return "cifar10 1"

    def read(self, example: Example, scheme: str) -> tuple[Pixels, Pixels]:  # noqa: ARG002
        """Return an image (32, 32, 3), uint8, and an empty mask (0, 0)."""
        name, _, number = example.name.partition("/")
        return self._batches[name].images[int(number)], np.empty((0, 0), np.uint8)


def read_batch(path: Path) -> Batch:
    """Return the images and labels of a batch file. Raises `UserError`, which names the file, if it is missing or not a batch."""
    try:
        with path.open("rb") as file:
            content = _BatchUnpickler(file, encoding="bytes").load()
        table, labels = content[b"data"], [int(label) for label in content[b"labels"]]
        if table.dtype != np.uint8 or table.shape != (len(labels), ROW) or not set(labels) <= set(range(len(KINDS))):
            raise UserError(
                f"{path}: holds a table of {table.shape} {table.dtype} and {len(labels)} labels; is not a batch of CIFAR-10"
            )
        return Batch(table.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: file is missing; expected the official batches of CIFAR-10") from None
    except Exception as error:  # a pickle can fail in any way
        raise UserError(f"{path}: cannot be read as a batch of CIFAR-10: {error!r}") from None


def _encode(text: str, encoding: str) -> bytes:
    """Do what `_codecs.encode` does, for the only encoding in which pickles store bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not expected")
    return codecs.encode(text, "latin1")


RECONSTRUCT: Any = np.empty(0).__reduce__()[0]  # a numpy function, whose module was renamed
ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,  # in the official files
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("_codecs", "encode"): _encode,
}


class _BatchUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a batch of CIFAR-10")
        return ALLOWED[module, name]
