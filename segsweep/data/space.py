"""Space on a disk: taking it before it is used, and saying in one line that it is not there."""

import errno
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from segsweep.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK = 1 << 24  # bytes that are written at once where space cannot be allocated


def allocate(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    """Write a `.npy` file of zeros whose space on the disk is taken.

    Who writes into a mapped file that has no space yet is killed when the disk is full. Raises `OSError`.
    """
    kind = np.dtype(dtype)
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": npy.dtype_to_descr(kind)})
        size = kind.itemsize * math.prod(shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            file.flush()
            os.posix_fallocate(file.fileno(), file.tell(), size)
            return
        for first in range(0, size, BLOCK):
            file.write(bytes(min(BLOCK, size - first)))


@contextmanager
def one_line_when_full(folder: Path, what: str) -> Iterator[None]:
    """Turn the errors of a full disk into a `UserError` that says what does not fit where."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{what} in {folder}, which cannot be written: {error.strerror}; make room there or name another --store"
        ) from None
