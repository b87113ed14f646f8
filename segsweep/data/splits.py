"""Protocols and fractions: which pictures train, validate and test. Every choice of pictures in segsweep is made here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from segsweep.config.digest import seed_for
from segsweep.data.prepared import Prepared
from segsweep.errors import UserError

Indices = npt.NDArray[np.int64]
PARTS = ("train", "val", "test")
SOURCE_SHARES = (90, 10, 0)  # per cent, of a source that has no validation split of its own


@dataclass(frozen=True)
class Split:
    """The numbers of the pictures that train, validate and test, ascending. A source's `test` is empty."""

    train: Indices
    val: Indices
    test: Indices


def stratified_order(strata: Sequence[str], seed: int) -> Indices:
    """Return a random order of all positions in which every beginning holds each stratum in its share.

    The pictures of a stratum of size n take the places (0 + u)/n, (1 + u)/n ... of the unit interval, so subsets that are
    beginnings of the order are nested and stratified.
    """
    rng = np.random.default_rng(seed)
    places = np.empty(len(strata))
    labels = np.asarray(strata)
    for stratum in sorted(set(strata)):
        members = rng.permutation(np.flatnonzero(labels == stratum))
        places[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.lexsort((rng.random(len(strata)), places)).astype(np.int64)


def split_target(data: Prepared, protocol: str) -> Split:
    """Return the split of a target, which depends on nothing but the data and the protocol.

    `A-B-C` divides the data set's pool by these per cents, stratified; `official` takes the data set's own three splits.
    Raises `UserError` for another protocol, and for one that leaves a part empty.
    """
    if protocol == "official":
        parts = [np.flatnonzero(np.asarray(data.splits) == part).astype(np.int64) for part in PARTS]
    else:
        parts = _divide(data, data.pool, _shares(protocol), seed_for("protocol", protocol))
    for part, members in zip(PARTS, parts, strict=True):
        if len(members) == 0:
            raise UserError(
                f"data set {data.dataset!r}: protocol {protocol!r} leaves the {part} split empty; choose another protocol"
            )
    return Split(*parts)


def _shares(protocol: str) -> list[int]:
    match = re.fullmatch(r"([0-9]+)-([0-9]+)-([0-9]+)", protocol)
    if match is None:
        raise UserError(f"protocol {protocol!r}: allowed are per cents as 60-20-20 (train-val-test) and 'official'")
    shares = [int(share) for share in match.groups()]
    if sum(shares) != 100:
        raise UserError(f"protocol {protocol!r}: {'+'.join(map(str, shares))} is not 100")
    return shares


def _divide(data: Prepared, pool_splits: Sequence[str], shares: Sequence[int], seed: int) -> list[Indices]:
    pool = np.flatnonzero(np.isin(data.splits, pool_splits))
    order = pool[stratified_order([data.strata[int(member)] for member in pool], seed)]
    ends = accumulate(_sizes(len(order), shares), initial=0)
    return [np.sort(order[first:last]).astype(np.int64) for first, last in pairwise(ends)]


def _sizes(count: int, shares: Sequence[int]) -> list[int]:
    """Return how many of so many pictures each share in per cent gets; together they are all."""
    ends = [round(count * share / 100) for share in accumulate(shares, initial=0)]
    return [last - first for first, last in pairwise(ends)]


def split_source(data: Prepared, limit: int | None, seed: int) -> Split:
    """Return the split of a source: its own train and val, or a tenth of its pool held out where it has no val.

    Pictures of a test split are never trained on.
    `limit` cuts the training part to so many pictures, stratified. Raises `UserError` where there are fewer.
    """
    splits = np.asarray(data.splits)
    if (splits == "val").any() and (splits == "train").any():
        train, val = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "val")
    else:
        train, val, _ = _divide(data, _without_test(data.pool), SOURCE_SHARES, seed_for("source validation"))
    if limit is not None and limit > len(train):
        raise UserError(f"source @{limit}: data set {data.dataset!r} has only {len(train)} pictures to train on")
    if len(train) == 0 or len(val) == 0:
        raise UserError(f"data set {data.dataset!r}: {len(data.names)} pictures are too few for training and validation")
    if limit is not None:
        train = np.sort(train[stratified_order([data.strata[int(member)] for member in train], seed_for("limit", seed))[:limit]])
    return Split(train.astype(np.int64), val.astype(np.int64), np.empty(0, dtype=np.int64))


def _without_test(pool: Sequence[str]) -> list[str]:
    return [split for split in pool if split != "test"]


def subset(data: Prepared, train: Indices, fraction: float, seed: int) -> Indices:
    """Return the share of a training split that a trial sees: nested in the fraction, stratified, fixed by the seed.

    Raises `UserError` where the fraction leaves no picture.
    """
    count = round(fraction * len(train))
    if count == 0:
        raise UserError(f"fraction={fraction}: leaves none of the {len(train)} training pictures of {data.dataset!r}")
    order = stratified_order([data.strata[int(member)] for member in train], seed_for("fraction", seed))
    return np.sort(train[order[:count]])


def split_sizes(splits: Sequence[str], pool: Sequence[str], protocol: str) -> tuple[int, int, int]:
    """Return how many pictures a target's protocol gives to training, validation and test, from the official splits alone.

    Raises `UserError` for a protocol that is none.
    """
    if protocol == "official":
        return splits.count("train"), splits.count("val"), splits.count("test")
    train, val, test = _sizes(sum(split in pool for split in splits), _shares(protocol))
    return train, val, test


def source_sizes(splits: Sequence[str], pool: Sequence[str], limit: int | None) -> tuple[int, int]:
    """Return how many pictures a source gives to training and validation, from the official splits alone."""
    if "val" in splits and "train" in splits:
        train, val = splits.count("train"), splits.count("val")
    else:
        train, val, _ = _sizes(sum(split in _without_test(pool) for split in splits), SOURCE_SHARES)
    return min(train, limit or train), val
