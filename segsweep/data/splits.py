"""Protocols and fractions: the images for training, validation and test. All choices of images in segsweep are made here."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from segsweep.config.digest import seed_for
from segsweep.config.folds import Folds, folds_of
from segsweep.config.study import PREVENT, Leakage
from segsweep.data.dataset import Division
from segsweep.data.groups import SWAPPED, check_group_count, divide_groups, group_numbers, grouped, has_groups
from segsweep.data.prepared import Prepared
from segsweep.errors import UserError

Indices = npt.NDArray[np.int64]
PARTS = ("train", "val", "test")
SOURCE_SHARES = (90, 10, 0)  # per cent, of a source without a validation split
DEV_SHARES = (90, 10, 0)  # per cent, of the images that `holdout-H` leaves for development
OWN_VAL = "-own-val"  # suffix of a `holdout-H` in which each development share has separate validation images
STARTS = 12  # most starts of the search for a division by groups; fewer with many groups
ROUNDING = 1e-9  # tolerance for per cents that are computed from shares
NONE: Indices = np.empty(0, dtype=np.int64)
OFFICIAL: Division = ((("train",), (100, 0, 0)), (("val",), (0, 100, 0)), (("test",), (0, 0, 100)))
FOLD_SHARES = (87.5, 12.5, 0)  # per cent, of the images outside the test fold
ALLOWED = (
    "allowed are per cents as 60-20-20 (train-val-test), 'official', '5-fold', '5x2-fold' (5 repetitions of 2 folds), "
    "and 'holdout-20' (per cent for the test)"
)


@dataclass(frozen=True)
class Split:
    """The numbers of the images for training (T,), validation (V,) and test (U,), each int64 and ascending.

    A source's `test` is empty. `train_copies` are images of the training part that are identical to a validation or test image,
    `val_copies` images of the validation part that are identical to a test image. They are left out of `train` and `val`, unless
    leakage is only reported.
    """

    train: Indices
    val: Indices
    test: Indices
    train_copies: Indices = field(default_factory=lambda: NONE)
    val_copies: Indices = field(default_factory=lambda: NONE)

    @property
    def dropped(self) -> int:
        """The number of copies that are left out of training and validation."""
        copies = ((self.train, self.train_copies), (self.val, self.val_copies))
        return sum(int((~np.isin(copied, part)).sum()) for part, copied in copies)


def stratified_order(strata: Sequence[str], seed: int) -> Indices:
    """Return a random order of the positions of N images, (N,) int64, in which every prefix is stratified.

    The images of a stratum of size n are placed at (0 + u)/n, (1 + u)/n, ... of the unit interval, with a random u in 0..1 each.
    Prefixes of the order are therefore nested subsets in which each stratum has its share.
    """
    rng = np.random.default_rng(seed)
    places = np.empty(len(strata))
    labels = np.asarray(strata)
    for stratum in sorted(set(strata)):
        members = rng.permutation(np.flatnonzero(labels == stratum))
        places[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.lexsort((rng.random(len(strata)), places)).astype(np.int64)


def split_target(
    data: Prepared,
    protocol: str,
    dev_share: float | None = None,
    fold: int | None = None,
    *,
    groups: str | None = None,
    leakage: Leakage = PREVENT,
) -> Split:
    """Return the split of a target, which depends only on the data and the arguments.

    All divisions are stratified. The protocols are:

    - `official`: the official splits `train`, `val` and `test` of the dataset.
    - a protocol that the dataset defines.
    - `A-B-C`: the pool is divided by these per cents.
    - `holdout-H`: H per cent of all images are the test split, and a tenth of the others validates; both are equal for every
      `dev_share`. Nine tenths of `dev_share` of all images train, by default all remaining images; the training images of a
      smaller share are a subset of those of a larger one.
    - `holdout-H-own-val`: each development share is divided 90:10, so every share has other validation images, and validation
      scores cannot be compared between shares.
    - `K-fold`: the pool is divided into K folds. Fold `fold`, from 1, is the test split, and an eighth of the other images
      validates.
    - `RxK-fold`: R different divisions into K folds, numbered consecutively.

    Divisions in per cent and into folds keep groups whole: the dataset's groups, or those that the pattern `groups` finds in the
    names. Of identical images in two parts, the one in the later part stays; see `Split`. With the leakage `report`, groups are
    divided and copies stay.

    Raises `UserError` for an unknown protocol, for a protocol that leaves a part empty, for a `dev_share` that the protocol does
    not support or that is too large, for too few groups, and for a dataset without masks.
    """
    check_labelled(data.dataset, data.labelled)
    data = grouped(data, groups) if leakage == PREVENT else replace(data, groups=())
    if (held := _HeldOut.parse(protocol, dev_share)) is not None:
        parts = _hold_out_groups(data, held) if has_groups(data) else _hold_out(data, held)
    elif (folds := folds_of(protocol)) is not None:
        assert fold is not None, "a protocol with folds needs the number of the fold"
        parts = _cross_validation(data, protocol, folds, fold)
    else:
        division = _resolve(protocol, data.pool, data.protocols)
        divided = [_divide(data, splits, shares, seed_for("protocol", protocol)) for splits, shares in division]
        parts = [np.sort(np.concatenate(part)) for part in zip(*divided, strict=True)]
    for part, members in zip(PARTS, parts, strict=True):
        if len(members) == 0:
            raise UserError(
                f"dataset {data.dataset!r}: protocol {protocol!r} leaves the {part} split empty; choose another protocol"
            )
    return _apart(data, parts, leakage)


def _apart(data: Prepared, parts: Sequence[Indices], leakage: Leakage) -> Split:
    """Return the split without copies of validation and test images in training, and of test images in validation."""
    train, val, test = parts
    in_test = np.isin(data.content[val], data.content[test])
    in_later = np.isin(data.content[train], data.content[np.concatenate([val, test])])
    copies = train[in_later], val[in_test]
    if leakage == PREVENT:
        train, val = train[~in_later], val[~in_test]
    for part, members, copied in (("training", train, copies[0]), ("validation", val, copies[1])):
        if len(members) == 0:
            raise UserError(
                f"dataset {data.dataset!r}: each of the {len(copied)} {part} images is identical to an image of a later split; "
                "remove the copies from the dataset"
            )
    return Split(train, val, test, *copies)


def check_labelled(name: str, labelled: bool) -> None:
    """Raise `UserError` for a dataset without masks, for a use that needs them."""
    if not labelled:
        raise UserError(
            f"dataset {name!r}: has no masks, so it is neither a target nor a supervised source; "
            "choose another, or add masks/ and classes.txt to a folder"
        )


def _resolve(protocol: str, pool: Sequence[str], protocols: Mapping[str, Division]) -> Division:
    """Return the division of a protocol: official splits and per cents. Raises `UserError` for an unknown protocol."""
    if protocol == "official":
        return OFFICIAL
    if protocol in protocols:
        return protocols[protocol]
    match = re.fullmatch(r"([0-9]+)-([0-9]+)-([0-9]+)", protocol)
    if match is None:
        further = f", and the dataset's {', '.join(map(repr, protocols))}" if protocols else ""
        raise UserError(f"protocol {protocol!r}: {ALLOWED}{further}")
    shares = [int(share) for share in match.groups()]
    if sum(shares) != 100:
        raise UserError(f"protocol {protocol!r}: {'+'.join(map(str, shares))} is not 100")
    return [(pool, shares)]


@dataclass(frozen=True)
class _HeldOut:
    """A protocol `holdout-H` or `holdout-H-own-val` with its development share; None for all development images.

    `protocol` is `holdout-H` in both cases, so that both have the same test images.
    """

    protocol: str
    per_cent: int
    dev_share: float | None
    own_val: bool

    @classmethod
    def parse(cls, protocol: str, dev_share: float | None) -> "_HeldOut | None":
        """Return the parsed protocol; None for other protocols. Raises `UserError` for a `dev_share` that is not allowed."""
        match = re.fullmatch(rf"(holdout-([1-9][0-9]?))({OWN_VAL})?", protocol)
        if match is None:
            if dev_share is not None:
                raise UserError(
                    f"dev_share={dev_share}: protocol {protocol!r} has no development share; only 'holdout-H' has one"
                )
            return None
        held = int(match[2])
        if dev_share is not None and not 0 < 100 * dev_share <= 100 - held + ROUNDING:
            raise UserError(
                f"dev_share={dev_share}: protocol {protocol!r} leaves {1 - held / 100:g} of all images; "
                f"allowed is a share of all above 0 and up to {1 - held / 100:g}"
            )
        undivided = dev_share is None or 100 * dev_share > 100 - held - ROUNDING
        return cls(match[1], held, None if undivided else dev_share, match[3] is not None)

    def sizes(self, count: int) -> tuple[int, int, int]:
        """Return the numbers of training, validation and test images among `count` images."""
        test = round(count * self.per_cent / 100)
        most, val, _ = _sizes(count - test, DEV_SHARES)
        if self.dev_share is None:
            return most, val, test
        if self.own_val:
            train, val, _ = _sizes(round(count * self.dev_share), DEV_SHARES)
            return train, val, test
        return min(most, round(count * self.dev_share * DEV_SHARES[0] / 100)), val, test


def _hold_out(data: Prepared, held: _HeldOut) -> list[Indices]:
    """Hold out single images. All parts are slices of one stratified order, so they are stratified and nested."""
    order = stratified_order(data.strata, seed_for("protocol", held.protocol))
    train, val, test = held.sizes(len(order))
    if held.own_val:
        chosen = np.sort(order[test : test + train + val])
        parts = _divide_members(data, chosen, DEV_SHARES, seed_for("development", held.protocol))
        return [*parts[:2], np.sort(order[:test])]
    return [np.sort(part) for part in (order[test + val : test + val + train], order[test : test + val], order[:test])]


def _hold_out_groups(data: Prepared, held: _HeldOut) -> list[Indices]:
    """Hold out whole groups. A smaller development share has a subset of the groups of a larger one."""
    every, seed = np.arange(len(data.names)), seed_for("protocol", held.protocol)
    check_group_count(data, every, 3)
    rest, test = _by_groups(data, every, (100 - held.per_cent, held.per_cent), seed)
    check_group_count(data, rest, 2)
    train, val, _ = held.sizes(len(every))
    development = seed_for("development", held.protocol)
    if held.own_val:
        chosen = _first_groups(data, rest, train + val, seed, least=2)
        return [*_by_groups(data, chosen, DEV_SHARES[:2], development), test]
    most, val_part = _by_groups(data, rest, DEV_SHARES[:2], development)
    return [most if held.dev_share is None else _first_groups(data, most, train, seed), val_part, test]


def _first_groups(data: Prepared, members: Indices, count: int, seed: int, least: int = 1) -> Indices:
    """Return the images of whole groups, as close to `count` images as possible, from at least `least` groups.

    Groups are added in a stratified order, so those for a smaller count are a subset of those for a larger one.
    """
    group_N = group_numbers([data.groups[int(member)] for member in members])
    order = group_N[stratified_order([data.strata[int(member)] for member in members], seed)]
    sizes = np.cumsum(np.bincount(group_N)[(ranked := list(dict.fromkeys(order.tolist())))])
    chosen = max(least, int(np.abs(sizes - count).argmin()) + 1)
    return members[np.isin(group_N, ranked[:chosen])]


def _cross_validation(data: Prepared, protocol: str, folds: Folds, fold: int) -> list[Indices]:
    """Return the training, validation and test images for one test fold."""
    pool = np.flatnonzero(np.isin(data.splits, data.pool)).astype(np.int64)
    if len(pool) < folds.count:
        place = f"dataset {data.dataset!r}: protocol {protocol!r}"
        raise UserError(f"{place}: {len(pool)} images cannot be divided into {folds}; use fewer folds, or more images")
    repetition, number = divmod(fold - 1, folds.count)
    equal = (100 / folds.count,) * folds.count
    test = _divide_members(data, pool, equal, seed_for("protocol", protocol, repetition))[number]
    rest = np.setdiff1d(pool, test)
    train, val, _ = _divide_members(data, rest, FOLD_SHARES, seed_for("fold", protocol, fold))
    return [train, val, test]


def _divide(data: Prepared, pool_splits: Sequence[str], shares: Sequence[float], seed: int) -> list[Indices]:
    return _divide_members(data, np.flatnonzero(np.isin(data.splits, pool_splits)), shares, seed)


def _divide_members(data: Prepared, members: Indices, shares: Sequence[float], seed: int) -> list[Indices]:
    if has_groups(data) and (parts := sum(share > 0 for share in shares)) > 1:
        check_group_count(data, members, parts)
        return _by_groups(data, members, shares, seed)
    order = members[stratified_order([data.strata[int(member)] for member in members], seed)]
    ends = accumulate(_sizes(len(order), shares), initial=0)
    return [np.sort(order[first:last]).astype(np.int64) for first, last in pairwise(ends)]


def _by_groups(data: Prepared, members: Indices, shares: Sequence[float], seed: int) -> list[Indices]:
    """Divide images by whole groups, and return the images of each part."""
    strata = [data.strata[int(member)] for member in members]
    group_N = group_numbers([data.groups[int(member)] for member in members])
    starts = max(1, min(STARTS, SWAPPED // (group_N.max() + 1)))
    orders = (stratified_order(strata, seed_for("groups", seed, start)) for start in range(starts))
    part_N = divide_groups(group_N, strata, shares, orders)
    return [members[part_N == part] for part in range(len(shares))]


def _sizes(count: int, shares: Sequence[float]) -> list[int]:
    """Return the number of images of each share in per cent; the numbers add up to `count` for shares that add up to 100."""
    ends = [round(count * share / 100) for share in accumulate(shares, initial=0)]
    return [last - first for first, last in pairwise(ends)]


def split_source(
    data: Prepared,
    limit: int | None,
    seed: int,
    choice: str = "official",
    *,
    labelled: bool = True,
    without: Sequence[int] = (),
    leakage: Leakage = PREVENT,
) -> Split:
    """Return the split of a source: its official train and val, or its pool with a tenth held out if it has no val.

    The test split never trains, unless `choice` is `all`: then a tenth of all images of all splits is held out. The tenth is held
    out by whole groups if there are several. Training images that are identical to a validation image are left out, unless
    leakage is only reported.

    Args:
        data: The source.
        limit: Number of training images, chosen stratified; None for all.
        seed: Seed of the choice by `limit`.
        choice: `official` or `all`.
        labelled: Whether the source must have masks.
        without: Numbers of images that neither train nor validate, such as those on which the target is tested.
        leakage: Whether copies are removed or only reported.

    Raises:
        UserError: The source has fewer than `limit` training images, too few images at all, or no masks although it must.
    """
    if labelled:
        check_labelled(data.dataset, data.labelled)
    left = np.setdiff1d(np.arange(len(data.names)), np.asarray(without, dtype=np.int64))
    splits = np.asarray(data.splits)[left]
    official = "train" in splits and "val" in splits and choice != "all"
    if official:
        train, val = left[splits == "train"], left[splits == "val"]
    else:
        pool = set(splits) if choice == "all" else _without_test(data.pool)
        train, val = _hold_tenth_out(data, left[np.isin(splits, sorted(pool))], leakage)
    copies = np.isin(data.content[train], data.content[val])
    if copies.all() and leakage == PREVENT and len(train):
        raise UserError(
            f"dataset {data.dataset!r}: each of the {len(train)} training images is identical to a validation image; "
            "remove the copies from the dataset"
        )
    train, train_copies = (train[~copies], train[copies]) if leakage == PREVENT else (train, train[copies])
    left_out = f" ({len(without)} are images on which the target validates or tests)" if len(without) else ""
    check_limit(limit, len(train), data.dataset, left_out)
    if len(train) == 0 or len(val) == 0:
        raise UserError(f"dataset {data.dataset!r}: {len(data.names)} images are too few for training and validation{left_out}")
    if limit is not None:
        train = np.sort(train[stratified_order([data.strata[int(member)] for member in train], seed_for("limit", seed))[:limit]])
    return Split(train.astype(np.int64), val.astype(np.int64), NONE, train_copies)


def _hold_tenth_out(data: Prepared, members: Indices, leakage: Leakage) -> tuple[Indices, Indices]:
    """Return the training and the validation images of a source; a single group is divided."""
    groups = {data.groups[int(member)] for member in members} if has_groups(data) else set()
    if leakage != PREVENT or (groups and len(groups - {None}) < 2):
        data = replace(data, groups=())
    train, val, _ = _divide_members(data, members, SOURCE_SHARES, seed_for("source validation"))
    return train, val


def _without_test(pool: Sequence[str]) -> list[str]:
    return [split for split in pool if split != "test"]


def check_limit(limit: int | None, images: int, dataset: str, left_out: str = "") -> None:
    """Raise `UserError` for a limit above the number of a source's training images."""
    if limit is not None and limit > images:
        raise UserError(f"source @{limit}: dataset {dataset!r} has only {images} images to train on{left_out}")


def count_of_fraction(fraction: float, images: int, dataset: str) -> int:
    """Return the number of training images of a fraction. Raises `UserError` if it is 0."""
    if (count := round(fraction * images)) == 0:
        raise UserError(f"fraction={fraction}: leaves none of the {images} training images of {dataset!r}")
    return count


def subset(data: Prepared, train: Indices, fraction: float, seed: int) -> Indices:
    """Return the images of a trial, (M,) int64 and ascending: a stratified share of the training images `train` (T,).

    For one seed, the subset of a smaller fraction is part of that of a larger one. Raises `UserError` for a fraction without
    images.
    """
    count = count_of_fraction(fraction, len(train), data.dataset)
    order = stratified_order([data.strata[int(member)] for member in train], seed_for("fraction", seed))
    return np.sort(train[order[:count]])


def split_sizes(
    splits: Sequence[str],
    pool: Sequence[str],
    protocol: str,
    dev_share: float | None = None,
    protocols: Mapping[str, Division] = {},
) -> tuple[int, int, int]:
    """Return the numbers of training, validation and test images of a target's protocol, from its official splits only.

    `splits` holds the official split of each image, `protocols` the dataset's protocols. Raises `UserError` for an unknown
    protocol, and for a `dev_share` that is not allowed.
    """
    if (held := _HeldOut.parse(protocol, dev_share)) is not None:
        return held.sizes(len(splits))
    groups = _resolve(protocol, pool, protocols)
    sizes = [_sizes(sum(split in official for split in splits), shares) for official, shares in groups]
    train, val, test = map(sum, zip(*sizes, strict=True))
    return train, val, test


def source_sizes(splits: Sequence[str], pool: Sequence[str], limit: int | None, choice: str = "official") -> tuple[int, int]:
    """Return the numbers of training and validation images of a source, from the official split of each image only."""
    if choice == "all":
        train, val, _ = _sizes(len(splits), SOURCE_SHARES)
    elif "val" in splits and "train" in splits:
        train, val = splits.count("train"), splits.count("val")
    else:
        train, val, _ = _sizes(sum(split in _without_test(pool) for split in splits), SOURCE_SHARES)
    return min(train, limit or train), val
