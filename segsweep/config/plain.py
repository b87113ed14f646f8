"""Values of a study as plain Python has them, whichever library they come from: numpy, pandas, torch, decimal, pathlib."""

import math
import os
import struct
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

from segsweep.errors import UserError

SHORT_FLOATS = {2: "e", 4: "f"}  # by their bytes, as `struct` calls them
DIGITS = 9  # which tell any two floats of 4 bytes apart


def plain(value: Any) -> Any:
    """Return a number, text or path of any library as int, float, bool or str; all else as it is.

    A float of 4 bytes becomes the shortest number that it stands for: numpy's float32(1e-4) is 1e-4, as who wrote it meant.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Decimal | Fraction):
        return float(value)
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        found = value.item()
        short = SHORT_FLOATS.get(getattr(value.dtype, "itemsize", 0))
        return _shortest(found, short) if isinstance(found, float) and short else found
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    for kind in (bool, int, float, str):  # a subclass of one of them
        if isinstance(value, kind):
            return kind(value)
    return value


def _shortest(value: float, form: str) -> float:
    """Return the number of fewest digits that a short float holds as this value."""
    if not math.isfinite(value):
        return value
    numbers = (float(f"{value:.{digits}g}") for digits in range(1, DIGITS + 1))
    return next((number for number in numbers if _held(number, form) == value), value)


def _held(number: float, form: str) -> float | None:
    try:
        return float(struct.unpack(form, struct.pack(form, number))[0])
    except OverflowError:
        return None


def listed(values: Any) -> list[Any] | None:
    """Return the values of a list, tuple, range, or array of one dimension, each as `plain` has it; None for all else."""
    if isinstance(values, str) or not (isinstance(values, Sequence) or getattr(values, "ndim", 0) == 1):
        return None
    return [plain(value) for value in values]


def number(what: str, value: Any) -> float:
    """Return a finite number, also from a text as "1e-4". Raises `UserError` that says what is no number."""
    found = plain(value)
    if isinstance(found, str):
        try:
            found = int(found) if found.strip().isdecimal() else float(found)
        except ValueError:
            found = None
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise UserError(f"{what}: {value!r} is no finite number; give one as 1e-4")
    return found
