"""Users' datasets: the arrays of their readers are checked before use."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from contracts.dataset import DatasetContract, FolderDatasetContract

from segsweep.data.dataset import Example
from segsweep.data.folder import Folder
from segsweep.data.prepare import DataSpec, prepare, prepared_key
from segsweep.errors import UserError

IMAGE, MASK = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)


@dataclass(frozen=True)
class Drawn:
    """A dataset without files that returns the given arrays."""

    image: Any
    mask: Any
    name: str = "mine"
    fit = "resize"
    pool = ("train",)
    protocols = {}
    schemes = {"all": ("ground", "thing")}

    def examples(self) -> list[Example]:
        return [Example(name) for name in ("one", "two", *map(str, range(3, 13)))]

    def files(self) -> list[Any]:
        return []

    def revision(self) -> str:
        return "1"

    def read(self, example: Example, scheme: str) -> tuple[Any, Any]:  # noqa: ARG002
        if isinstance(self.image, Exception):
            raise self.image
        return self.image, self.mask


class TestWithoutFiles(DatasetContract):
    """The smallest dataset that a user can write."""

    @pytest.fixture
    def make(self):
        return lambda: Drawn(IMAGE, MASK)


class Cropped(Folder):
    """A user's dataset that reads a folder in another way."""

    fit = "crop"


class TestOfAFolder(FolderDatasetContract):
    """A user's dataset that derives from a reader."""

    @pytest.fixture
    def folder(self, layouts):
        return layouts.plain()

    @pytest.fixture
    def reader_of(self):
        return lambda folder: Cropped(folder, "mine")


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (IMAGE, MASK[:30], r"image is \(40, 40, 3\) and mask \(30, 40\)"),
        (IMAGE, MASK + np.uint8(7), r"mask value 7 is outside the classes; allowed are 0\.\.1, 255"),
        (IMAGE.astype(float), MASK, r"image is float64 \(40, 40, 3\); must be uint8 or uint16 \(H, W, 3\)"),
        (IMAGE, MASK.astype(np.int64), r"mask is int64 \(40, 40\); must be uint8 \(H, W\)"),
        (IMAGE.transpose(2, 0, 1), MASK, r"image is \(3, 40, 40\)"),
        (IMAGE[..., 0], MASK, r"image is uint8 \(40, 40\); must be uint8 or uint16 \(H, W, 3\)"),
        ([1, 2], MASK, "image is list"),
        (KeyError("pixels"), MASK, r"one: cannot be read: KeyError\('pixels'\)"),
    ],
)
def test_invalid_arrays_of_a_reader_are_one_line(store, quiet, image, mask, message):
    """A reader that raises, or returns another type, size or value, gives one line with the example; nothing is kept."""
    request = DataSpec(Drawn(image, mask), None, 16)
    with pytest.raises(UserError, match=message) as caught:
        prepare(request, store, quiet)
    assert str(caught.value).startswith("dataset 'mine': one: ")
    assert store.find("data", prepared_key(request, store, quiet)) is None


def test_fingerprints_distinguish_datasets_without_files(store, quiet):
    """Two datasets without files have separate arrays if their fingerprints differ, and share them if they are equal."""
    keys = [prepared_key(DataSpec(Drawn(IMAGE, MASK), None, 16, fingerprint=code), store, quiet) for code in ("", "a", "b", "a")]
    assert len(set(keys)) == 3
    assert keys[1] == keys[3]
