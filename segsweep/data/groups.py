"""Groups of images that must stay on one side of a split: the frames of a video, the slices of a patient, a drive."""

import csv
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segsweep.data.listing import IMAGE_SUFFIXES, lines
from segsweep.data.prepared import Prepared
from segsweep.errors import UserError

Indices = npt.NDArray[np.int64]
NAME_HEADERS = ("name", "image", "file", "filename", "picture")
SIZE_WEIGHT = 32  # weight of a part's size relative to its strata: sizes come first
SWAPPED = 300  # most groups for which the search also exchanges pairs


def groups_by_pattern(names: Sequence[str], pattern: str, dataset: str) -> list[str]:
    """Return the group of each name: the match of the pattern's one group, in parentheses.

    Raises `UserError`, which lists the first names without a match.
    """
    found = [match[1] if (match := re.search(pattern, name)) else None for name in names]
    if missed := [name for name, group in zip(names, found, strict=True) if not group]:
        shown = ", ".join(map(repr, missed[:3]))
        raise UserError(
            f"Target groups={pattern!r}: finds no group for {len(missed)} of the {len(names)} images of dataset {dataset!r} "
            f"({shown}{', ...' if len(missed) > 3 else ''})"
        )
    return [group or "" for group in found]


def read_groups(path: Path, known: Collection[str]) -> dict[str, str]:
    """Return the group of every image from a file with lines NAME,GROUP; a first line with headings is skipped.

    Names may have the suffix of an image file; `;` and tabs are separators too. Raises `UserError`, which names the line, for a
    name that is unknown or repeated and for a line without a name or a group; and for images that the file does not name.
    """
    text = lines(path)
    separator = next((each for each in ",;\t" if text and each in text[0]), ",")
    groups: dict[str, str] = {}
    for number, cells in enumerate(csv.reader(text, delimiter=separator), start=1):
        name, group = (cell.strip() for cell in cells) if len(cells) == 2 else ("", "")
        stem = Path(name).with_suffix("").as_posix() if Path(name).suffix.lower() in IMAGE_SUFFIXES else name
        if number == 1 and stem not in known and (name.casefold() in NAME_HEADERS or group.casefold() == "group"):
            continue
        if not (name and group):
            raise UserError(f"{path}: line {number} reads {separator.join(cells)!r}; must be NAME,GROUP")
        if stem not in known:
            raise UserError(f"{path}: line {number} names {name!r}, but there is no such image")
        if stem in groups:
            raise UserError(f"{path}: line {number} names {name!r} again; an image has one group")
        groups[stem] = group
    if missing := sorted(set(known) - set(groups)):
        more = f", ... ({len(missing)} in all)" if len(missing) > 1 else ""
        raise UserError(f"{path}: has no group for {missing[0]!r}{more}; every image needs one")
    return groups


def group_numbers(groups: Sequence[str | None]) -> Indices:
    """Return a number per image, (N,) int64, equal within a group; each image without a group has a different number."""
    numbers: dict[str, int] = {}
    keys = (f"image {position}" if group is None else f"group {group}" for position, group in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def grouped(data: Prepared, pattern: str | None) -> Prepared:
    """Return the data with the groups that a pattern finds in the names; without a pattern, the data unchanged.

    Raises `UserError`, which lists images without a group.
    """
    return data if pattern is None else replace(data, groups=groups_by_pattern(data.names, pattern, data.dataset))


def has_groups(data: Prepared) -> bool:
    """Return whether any image belongs to a group."""
    return any(group is not None for group in data.groups)


def check_group_count(data: Prepared, members: Indices, parts: int) -> None:
    """Raise `UserError` if the images `members` (M,) have fewer groups than `parts`, each of which needs one."""
    found = sorted({group for member in members if (group := data.groups[int(member)]) is not None})
    count = len(found) + sum(data.groups[int(member)] is None for member in members)
    if count < parts:
        raise UserError(
            f"dataset {data.dataset!r}: {len(members)} images in {count} group{'s' * (count != 1)} ({', '.join(found[:3])}) "
            f"cannot be divided into {parts} parts: no group is divided; use smaller groups, or lists and protocol='official'"
        )


def divide_groups(group_N: Indices, strata: Sequence[str], shares: Sequence[float], orders: Iterable[Indices]) -> Indices:
    """Divide images into parts by whole groups, and return the number of each image's part, (N,) int64.

    The sizes of the parts are as close to the shares as whole groups allow; among such divisions, the search prefers parts in
    which each stratum has its share. It computes in integers, so the result is equal on every machine.

    Args:
        group_N: (N,), int64, the group of each image, numbered 0, 1, ...; at least as many groups as parts.
        strata: The stratum of each of the N images.
        shares: Size of each part in per cent; parts of 0 stay empty.
        orders: Random orders of the images, arrays (N,). One search starts from each, and the best result is returned.
    """
    strata_N = np.unique(strata, return_inverse=True)[1]
    members_GS = np.zeros((group_N.max() + 1, strata_N.max() + 2), dtype=np.int64)
    np.add.at(members_GS, (group_N, strata_N + 1), 1)
    members_GS[:, 0] = SIZE_WEIGHT * np.bincount(group_N)
    wanted_PS = np.rint(np.outer(shares, members_GS.sum(axis=0)) / 100).astype(np.int64)
    search = _Division(members_GS, wanted_PS, np.flatnonzero(shares))
    firsts = (np.unique(group_N[order], return_index=True)[1] for order in orders)
    found = [search.improved(search.start(np.argsort(first))) for first in firsts]
    part_G = min(found, key=search.cost)  # the first of equal ones
    part_N: Indices = part_G[group_N]
    return part_N


class _Division:
    """The local search for a division of G groups into P parts.

    `members_GS` holds the images per group and stratum, `wanted_PS` the target per part and stratum; the first column of both is
    the weighted size. `parts` are the numbers of the parts with a share above 0.
    """

    def __init__(self, members_GS: Indices, wanted_PS: Indices, parts: Indices) -> None:
        self.members_GS, self.wanted_PS, self.parts = members_GS, wanted_PS, parts
        self.swaps = len(members_GS) <= SWAPPED
        self.squares_G = (members_GS**2).sum(axis=1)
        self.products_GG = members_GS @ members_GS.T if self.swaps else np.zeros((0, 0), dtype=np.int64)

    def start(self, groups: Indices) -> Indices:
        """Return the part of each group, (G,), after the groups, in an order, are cut at the shares; no part is empty."""
        sizes = self.members_GS[groups, 0]
        ends = np.cumsum(self.wanted_PS[self.parts, 0])
        parts = self.parts[np.minimum(np.searchsorted(ends, np.cumsum(sizes) - sizes / 2), len(self.parts) - 1)]
        parts[: len(self.parts)] = np.where(np.isin(self.parts, parts).all(), parts[: len(self.parts)], self.parts)
        assigned: Indices = np.empty_like(parts)
        assigned[groups] = parts
        return assigned

    def _excess(self, part_G: Indices) -> Indices:
        """Return the images that each part has beyond its target, (P, S)."""
        held_PS = np.zeros_like(self.wanted_PS)
        np.add.at(held_PS, part_G, self.members_GS)
        return held_PS - self.wanted_PS

    def cost(self, part_G: Indices) -> int:
        """Return the squared distance of a division from its target."""
        return int((self._excess(part_G) ** 2).sum())

    def improved(self, part_G: Indices) -> Indices:
        """Improve a division until no move of one group and no exchange of two groups lowers its cost; return it, (G,)."""
        while True:
            excess_GP = self.members_GS @ self._excess(part_G).T
            move, moved = self._best_move(part_G, excess_GP)
            swap, swapped = self._best_swap(part_G, excess_GP)
            if min(move, swap) >= 0:
                return part_G
            part_G = moved if move <= swap else swapped

    def _best_move(self, part_G: Indices, excess_GP: Indices) -> tuple[int, Indices]:
        """Return the change of the cost by the best move of one group to another part, and the division after it."""
        excess_G = excess_GP[np.arange(len(part_G)), part_G]
        change_GP = excess_GP - excess_G[:, None] + self.squares_G[:, None]
        last_G = np.bincount(part_G, minlength=len(self.wanted_PS))[part_G] == 1
        forbidden_GP = np.ones(change_GP.shape, dtype=bool)
        forbidden_GP[:, self.parts] = last_G[:, None]
        forbidden_GP[np.arange(len(part_G)), part_G] = True
        change_GP = np.where(forbidden_GP, 0, change_GP)
        group, part = np.unravel_index(change_GP.argmin(), change_GP.shape)
        moved = part_G.copy()
        moved[group] = part
        return int(change_GP[group, part]), moved

    def _best_swap(self, part_G: Indices, excess_GP: Indices) -> tuple[int, Indices]:
        """Return the change of the cost by the best exchange of two groups, and the division after it."""
        if not self.swaps:
            return 0, part_G
        other_GG = excess_GP[:, part_G]  # of a group and the part of another group
        current_G = np.diag(other_GG)
        distance_GG = self.squares_G[:, None] + self.squares_G[None, :] - 2 * self.products_GG
        change_GG = other_GG + other_GG.T - current_G[:, None] - current_G[None, :] + distance_GG
        change_GG = np.where(part_G[:, None] == part_G[None, :], 0, change_GG)
        one, two = np.unravel_index(change_GG.argmin(), change_GG.shape)
        swapped = part_G.copy()
        swapped[[one, two]] = part_G[[two, one]]
        return int(change_GG[one, two]), swapped
