"""Conversion of values of numpy, pandas, torch, decimal and pathlib to plain Python values."""

import math
import os
import struct
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

from segsweep.errors import UserError

SHORT_FLOATS = {2: "e", 4: "f"}  # number of bytes -> format character of `struct`
DIGITS = 9  # enough to distinguish any two 4-byte floats


def plain(value: Any) -> Any:
    """Return a number, text or path of any library as int, float, bool or str; return any other value unchanged.

    A 2- or 4-byte float becomes the shortest decimal number that rounds to it: numpy's float32(1e-4) becomes 1e-4.
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
    """Return the number with the fewest digits that rounds to this value in a short float."""
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
    """Return the plain values of a list, tuple, range or one-dimensional array; None for any other value."""
    if isinstance(values, str) or not (isinstance(values, Sequence) or getattr(values, "ndim", 0) == 1):
        return None
    return [plain(value) for value in values]


def number(what: str, value: Any) -> float:
    """Return a finite number, parsed from a text such as "1e-4" if necessary.

    Raises `UserError`, which begins with `what`, for any other value.
    """
    found = plain(value)
    if isinstance(found, str):
        try:
            found = int(found) if found.strip().isdecimal() else float(found)
        except ValueError:
            found = None
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise UserError(f"{what}: {value!r} is not a finite number; give a number such as 1e-4")
    return found
