"""The masks of a dataset at their original sizes are read from one open archive per process."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from zipfile import ZipFile

import numpy as np
import pytest

from segsweep.data.folder import Folder
from segsweep.data.originals import Originals, prepare_originals
from segsweep.data.prepare import DataSpec

COUNT = 12


@pytest.fixture
def originals(layouts, store, quiet) -> Originals:
    return prepare_originals(DataSpec(Folder(layouts.plain(COUNT), "mine"), None, 16), store, quiet)


def expected(number: int) -> np.ndarray:
    mask = np.zeros((32, 48), np.uint8)
    mask[4:20, 4:30] = 1 + number % 2
    mask[0] = 255
    return mask


def right(originals: Originals) -> bool:
    return all(np.array_equal(originals.mask(number), expected(number)) for number in range(COUNT))


def test_the_archive_is_opened_once(originals, monkeypatch):
    """Many masks are read with one reading of the archive's index, also by a pickled copy."""
    opened = []

    class Counted(ZipFile):
        def __init__(self, file):
            opened.append(file)
            super().__init__(file)

    monkeypatch.setattr("segsweep.data.originals.ZipFile", Counted)
    assert right(originals)
    assert right(pickle.loads(pickle.dumps(originals)))  # noqa: S301
    assert opened == [originals.file]


def test_threads_read_the_right_masks(originals):
    """Threads that read from one archive at the same time get the masks that they request."""
    numbers = list(range(COUNT)) * 50
    with ThreadPoolExecutor(8) as pool:
        assert all(
            np.array_equal(mask, expected(number))
            for number, mask in zip(numbers, pool.map(originals.mask, numbers), strict=True)
        )


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_opens_the_archive_again(originals):
    """Processes that are forked after a first read get the right masks while the parent continues to read."""
    originals.mask(0)
    children = []
    for _ in range(3):
        if (child := os.fork()) == 0:
            code = 1
            try:
                code = 0 if all(right(originals) for _ in range(30)) else 1
            finally:
                os._exit(code)
        children.append(child)
    assert all(right(originals) for _ in range(30))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
