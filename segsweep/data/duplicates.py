"""Identical images within a dataset and between two datasets. `segsweep.data.identity` defines when images are identical."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from segsweep.data.groups import Indices
from segsweep.data.identity import OF_FILE, OF_MASK, OF_PIXELS
from segsweep.data.prepared import Prepared

Pair = tuple[int, int]  # numbers of two identical images
LATER = {"test": 2, "val": 1}  # the order of official splits; all others come before these
SHOWN = 3  # pairs that a line names


def shared_images(source: Prepared, target: Prepared, members: Indices) -> Indices:
    """Return the numbers (K,) of the source's images that are identical to one of the target's images `members` (M,), ascending.

    Two images are identical if their decoded pixels or the bytes of their files are equal.
    """
    held = {digest for member in members for digest in _digests(target, int(member))}
    found = [member for member in range(len(source.identity)) if held.intersection(_digests(source, member))]
    return np.array(found, dtype=np.int64)


def pairs_between(source: Prepared, members: Indices, target: Prepared) -> list[Pair]:
    """Return those of a source's `members` (M,) that are in a target, each with the first identical image of the target."""
    known: dict[bytes, int] = {}
    for other in range(len(target.identity)):
        for digest in _digests(target, other):
            known.setdefault(digest, other)
    found = ((member, [known[digest] for digest in _digests(source, member) if digest in known]) for member in members.tolist())
    return [(member, others[0]) for member, others in found if others]


def _digests(data: Prepared, member: int) -> Iterator[bytes]:
    for row in (OF_PIXELS, OF_FILE):
        if (digest := data.identity[member, row]).any():
            yield digest.tobytes()


def partners(data: Prepared, copies: Indices, *parts: Indices) -> list[Pair]:
    """Return each of the images `copies` (K,) with the first identical image of `parts`, arrays (M,) of numbers."""
    known: dict[int, int] = {}
    for part in parts:
        for member in part.tolist():
            known.setdefault(int(data.content[member]), member)
    return [(copy, known[int(data.content[copy])]) for copy in copies.tolist() if int(data.content[copy]) in known]


def repetitions(data: Prepared, members: Indices) -> list[Pair]:
    """Return each of the images `members` (M,) that repeats an earlier one of them, with that one."""
    first = np.unique(data.content[members], return_index=True)[1]
    return partners(data, np.delete(members, first), members[np.sort(first)])


def conflicting(data: Prepared, pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs of identical images whose masks differ."""
    masks = data.identity[:, OF_MASK]
    return [(one, two) for one, two in pairs if not np.array_equal(masks[one], masks[two])]


def named(one: Prepared, other: Prepared, pairs: Sequence[Pair]) -> str:
    """Return the names of the first pairs, `a = b, c = d`."""
    shown = ", ".join(f"{one.names[first]} = {other.names[second]}" for first, second in pairs[:SHOWN])
    return shown + (", ..." if len(pairs) > SHOWN else "")


def official_remarks(data: Prepared) -> Iterator[str]:
    """Yield remarks on identical images in a dataset, by its official splits."""
    later_first = np.argsort([-LATER.get(split, 0) for split in data.splits], kind="stable").astype(np.int64)
    pairs = repetitions(data, later_first)
    across: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for copy, kept in pairs:
        across[data.splits[kept], data.splits[copy]].append((kept, copy))
    for (of_kept, of_copy), found in across.items():
        if of_kept == of_copy:
            yield f"{len(found)} {of_copy} images repeat another {of_copy} image ({named(data, data, found)})"
        else:
            count = len({kept for kept, _ in found})
            yield f"{count} {of_kept} images are identical to {of_copy} images ({named(data, data, found)})"
    if across:
        yield "a study keeps identical images on one side of its split: test before val before train"
    if differing := conflicting(data, pairs):
        yield f"{len(differing)} pairs of identical images have different masks ({named(data, data, differing)}); correct them"
