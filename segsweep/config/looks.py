"""Looks of a study that adds seeds until its questions are decided: the numbers of seeds at which it reads its answer."""

import re
from math import ceil

UNTIL_DECIDED = "until decided"
FIRST, MOST = 3, 12  # seeds of the first look, and of the last one, where the study names none
LARGEST = 30  # seeds of the last look at most: the answer does not look further for what would decide
GROWTH = 1.5  # a look has at least this many times the seeds of the one before


def looks_of(first: int, most: int) -> tuple[int, ...]:
    """Return the numbers of seeds of all looks: `first`, then growing by half, up to `most`.

    They are fixed before the study starts, so that what a look finds has no influence on the level of the next one.
    """
    looks = [first]
    while looks[-1] < most:
        wanted = max(looks[-1] + 1, ceil(GROWTH * looks[-1]))
        looks.append(most if wanted + 1 > most else wanted)
    return tuple(looks)


def parse_until_decided(text: object) -> int | None:
    """Return the most seeds that `until decided` or `until decided: MOST` names; None for any other value."""
    found = re.fullmatch(rf"{UNTIL_DECIDED}(?::\s*([0-9]+))?", text.strip()) if isinstance(text, str) else None
    return None if found is None else int(found[1] or MOST)
