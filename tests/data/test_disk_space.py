import errno
import os

import numpy as np
import pytest

from segsweep.data.disk_space import allocate, one_line_when_full
from segsweep.errors import UserError


def refusing(number: int):
    """Return a `posix_fallocate` that fails."""

    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("way", ["fallocate", "unsupported", "absent"])
@pytest.mark.parametrize("shape", [(3, 50, 40, 3), (7,)])
def test_allocated_arrays_have_their_space(tmp_path, monkeypatch, way, shape):
    """An allocated array holds zeros and can be memory-mapped, and its blocks are on the disk, on every file system."""
    if way == "unsupported":
        monkeypatch.setattr(os, "posix_fallocate", refusing(errno.EOPNOTSUPP), raising=False)
    if way == "absent":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    allocate(tmp_path / "a.npy", shape, np.uint64)
    array = np.load(tmp_path / "a.npy", mmap_mode="r+")
    assert (array.shape, array.dtype, array.any()) == (shape, np.uint64, False)
    stat = (tmp_path / "a.npy").stat()
    os.sync()
    assert stat.st_size >= 8 * np.prod(shape)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 8 * np.prod(shape)


def test_a_full_disk_raises_at_allocation(tmp_path, monkeypatch):
    """A full disk raises at allocation, not when the array is written."""
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.ENOSPC), raising=False)
    with pytest.raises(OSError, match="No space left"):
        allocate(tmp_path / "a.npy", (100,), np.uint8)


def test_only_a_full_disk_is_one_line(tmp_path):
    """A full disk becomes one line with data and location; other system errors are raised unchanged."""
    with (
        pytest.raises(UserError, match=rf"x needs 1 MB in {tmp_path}, which cannot be written: Disk quota exceeded; make room"),
        one_line_when_full(tmp_path, "x needs 1 MB"),
    ):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    with pytest.raises(PermissionError), one_line_when_full(tmp_path, "x"):
        raise PermissionError(errno.EACCES, "no")
