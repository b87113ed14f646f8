"""Class names, whose spelling differs between datasets: `traffic sign`, `Traffic-Sign`, `traffic_sign`."""

import re
from collections.abc import Sequence

from segsweep.errors import UserError

BACKGROUND = "background"


def plain_name(name: str) -> str:
    """Return a class name in lower case, without spaces, underscores and hyphens."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def same_class(name: str, other: str) -> bool:
    """Return whether two class names differ at most in case, spaces, underscores and hyphens."""
    return plain_name(name) == plain_name(other)


def is_background(name: str) -> bool:
    """Return whether a class name means background, in any spelling that `same_class` accepts."""
    return same_class(name, BACKGROUND)


def foreground_number(classes: Sequence[str], named: str | None = None) -> int:
    """Return the number of the class that the headline metrics of a target with two classes measure: the foreground.

    It is the class that the study names; without a name, the class that is not called background; without a background class,
    class 1.

    Raises:
        UserError: `named` is not one of the classes, or there are not exactly two classes (the headline is then a mean).
    """
    if named is None:
        return 0 if len(classes) == 2 and is_background(classes[1]) and not is_background(classes[0]) else 1
    known = [number for number, name in enumerate(classes) if same_class(name, named)]
    if not known or len(classes) != 2:
        allowed = (
            f"allowed are {', '.join(classes)}" if len(classes) == 2 else "needs exactly two classes; with more, IoU is a mean"
        )
        raise UserError(f"Target foreground={named!r}: {allowed}")
    return known[0]
