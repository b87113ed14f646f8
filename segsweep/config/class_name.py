"""Names of classes, which data sets write in their own ways: `traffic sign`, `Traffic-Sign`, `traffic_sign`."""

import re


def plain_name(name: str) -> str:
    """Return a name without upper case, spaces, underscores and hyphens."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def same_class(name: str, other: str) -> bool:
    """Return whether two names are one but for upper and lower case, spaces, underscores and hyphens."""
    return plain_name(name) == plain_name(other)
