"""Identical images: within a data set, and in two data sets. See `segsweep.data.identity` for when images are identical."""

from collections.abc import Iterator

import numpy as np

from segsweep.data.groups import Indices
from segsweep.data.identity import OF_FILE, OF_MASK, OF_PIXELS
from segsweep.data.prepared import Prepared


def shared_images(source: Prepared, target: Prepared, members: Indices) -> Indices:
    """Return the numbers of the source's images that are identical to one of some images of a target, ascending.

    Decoded pixels are compared, and the bytes of files.
    """
    held = {digest for member in members for digest in _digests(target, int(member))}
    return np.array([at for at in range(len(source.identity)) if held.intersection(_digests(source, at))], dtype=np.int64)


def _digests(data: Prepared, member: int) -> Iterator[bytes]:
    for row in (OF_PIXELS, OF_FILE):
        if (digest := data.identity[member, row]).any():
            yield digest.tobytes()


def partners(data: Prepared, copies: Indices, *parts: Indices) -> list[tuple[int, int]]:
    """Return each of some images with the first one of several parts that is identical to it."""
    known: dict[int, int] = {}
    for part in parts:
        for member in part.tolist():
            known.setdefault(int(data.content[member]), member)
    return [(copy, known[int(data.content[copy])]) for copy in copies.tolist() if int(data.content[copy]) in known]


def repeated(data: Prepared, members: Indices) -> int:
    """Return how many of some images are a repetition of another of them."""
    return len(members) - len(np.unique(data.content[members]))


def conflicting(data: Prepared, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the pairs of identical images whose masks differ."""
    masks = data.identity[:, OF_MASK]
    return [(one, two) for one, two in pairs if not np.array_equal(masks[one], masks[two])]
