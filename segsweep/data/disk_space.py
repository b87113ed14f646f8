"""Disk space: allocation before use, and a one-line error for a full disk."""

import errno
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from segsweep.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
BLOCK = 1 << 24  # bytes per write where space cannot be allocated


def allocate(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    """Write a `.npy` file of zeros whose disk space is allocated.

    Without allocation, a process that writes into a memory-mapped file is killed when the disk is full. Raises `OSError`.
    """
    kind = np.dtype(dtype)
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": npy.dtype_to_descr(kind)})
        _extend(file, kind.itemsize * math.prod(shape))


def _extend(file: BinaryIO, size: int) -> None:
    """Extend a file by `size` zero bytes whose disk space is allocated."""
    file.flush()
    try:
        os.posix_fallocate(file.fileno(), file.tell(), size)
    except (AttributeError, OSError) as error:  # macOS lacks this function, and some file systems do not support it
        if isinstance(error, OSError) and error.errno not in UNSUPPORTED:
            raise
        for first in range(0, size, BLOCK):
            file.write(bytes(min(BLOCK, size - first)))


@contextmanager
def one_line_when_full(location: object, what: str) -> Iterator[None]:
    """Turn the errors of a full disk into a `UserError` that names the data, which `what` describes, and their location."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{what} in {location}, which cannot be written: {error.strerror}; make room there or name another --store"
        ) from None
