"""Names of classes, which datasets write in their own ways: `traffic sign`, `Traffic-Sign`, `traffic_sign`."""

import re
from collections.abc import Sequence

from segsweep.errors import UserError

BACKGROUND = "background"


def plain_name(name: str) -> str:
    """Return a name without upper case, spaces, underscores and hyphens."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def same_class(name: str, other: str) -> bool:
    """Return whether two names are one but for upper and lower case, spaces, underscores and hyphens."""
    return plain_name(name) == plain_name(other)


def is_background(name: str) -> bool:
    """Return whether a class is called background, however it is written."""
    return same_class(name, BACKGROUND)


def foreground_number(classes: Sequence[str], named: str | None = None) -> int:
    """Return the number of the class that headline metrics belong to where there are two classes: the foreground.

    It is the class that a study names, else the one that is not called background, else class 1. Raises `UserError` for a name
    that is no class, and for a name where there are not two classes, whose headline is a mean.
    """
    if named is None:
        return 0 if len(classes) == 2 and is_background(classes[1]) and not is_background(classes[0]) else 1
    known = [number for number, name in enumerate(classes) if same_class(name, named)]
    if not known or len(classes) != 2:
        allowed = (
            f"allowed are {', '.join(classes)}" if len(classes) == 2 else "it goes with two classes; with more, IoU is a mean"
        )
        raise UserError(f"Target foreground={named!r}: {allowed}")
    return known[0]
