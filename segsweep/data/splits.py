"""Protocols and fractions: which pictures train, validate and test. Every choice of pictures in segsweep is made here."""

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
SOURCE_SHARES = (90, 10, 0)  # per cent, of a source that has no validation split of its own
DEV_SHARES = (90, 10, 0)  # per cent, of what `holdout-H` leaves to develop with
OWN_VAL = "-own-val"  # how a `holdout-H` ends in which each development share has validation images of its own
STARTS = 12  # of the search for a division by groups, at most; fewer with many groups
ROUNDING = 1e-9  # of per cents that are computed from shares
NONE: Indices = np.empty(0, dtype=np.int64)
OFFICIAL: Division = ((("train",), (100, 0, 0)), (("val",), (0, 100, 0)), (("test",), (0, 0, 100)))
FOLD_SHARES = (87.5, 12.5, 0)  # per cent, of the images outside the fold that tests
ALLOWED = (
    "allowed are per cents as 60-20-20 (train-val-test), 'official', '5-fold', '5x2-fold' (5 repetitions of 2 folds), "
    "and 'holdout-20' (per cent that test)"
)


@dataclass(frozen=True)
class Split:
    """The numbers of the pictures that train, validate and test, ascending. A source's `test` is empty.

    `train_copies` are images of the training part that are identical to one that validates or tests, `val_copies` images of
    the validation part that are identical to one that tests. They are left out of `train` and `val` unless leakage is only
    reported.
    """

    train: Indices
    val: Indices
    test: Indices
    train_copies: Indices = field(default_factory=lambda: NONE)
    val_copies: Indices = field(default_factory=lambda: NONE)

    @property
    def dropped(self) -> int:
        """How many copies are left out of training and validation."""
        copies = ((self.train, self.train_copies), (self.val, self.val_copies))
        return sum(int((~np.isin(copied, part)).sum()) for part, copied in copies)


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


def split_target(
    data: Prepared,
    protocol: str,
    dev_share: float | None = None,
    fold: int | None = None,
    *,
    groups: str | None = None,
    leakage: Leakage = PREVENT,
) -> Split:
    """Return the split of a target, which depends on nothing but the data and the arguments.

    `official` takes the dataset's own three splits; a protocol of the dataset's own does what the dataset says;
    `A-B-C` divides the pool by these per cents, stratified. `holdout-H` has H per cent of all images test and a tenth of the
    others validate, the same for every `dev_share`; nine tenths of that share of all images (by default all the rest) train, a
    smaller share on a part of what a larger one has, all stratified. `holdout-H-own-val` divides each development share
    90:10, so that every share has validation images of its own: scores on them do not compare between shares.
    `K-fold` divides the pool into K folds, stratified; `fold` (from 1) tests, and of the others an eighth validates. `RxK-fold`
    does so R times with other divisions, whose folds are numbered on.
    What is divided in per cent or into folds is divided by whole groups where there are groups: the dataset's own, or what
    the pattern `groups` finds in the names. Of identical images in two parts the one in the later part stays; see `Split`.
    With the leakage `report` groups are divided and copies stay.
    Raises `UserError` for another protocol, for one that leaves a part empty, for a `dev_share` that the protocol does not
    have or that is too large, for too few groups, and for a dataset without masks.
    """
    check_labelled(data.dataset, data.labelled)
    data = grouped(data, groups) if leakage == PREVENT else replace(data, groups=())
    if (held := _HeldOut.parse(protocol, dev_share)) is not None:
        parts = _hold_out_groups(data, held) if has_groups(data) else _hold_out(data, held)
    elif (folds := folds_of(protocol)) is not None:
        assert fold is not None, "a protocol with folds needs to know which"
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
    """Return a split of which training shows no image that validates or tests, and validation none that tests."""
    train, val, test = parts
    in_test = np.isin(data.content[val], data.content[test])
    in_later = np.isin(data.content[train], data.content[np.concatenate([val, test])])
    copies = train[in_later], val[in_test]
    if leakage == PREVENT:
        train, val = train[~in_later], val[~in_test]
    for part, members, copied in (("training", train, copies[0]), ("validation", val, copies[1])):
        if len(members) == 0:
            raise UserError(
                f"dataset {data.dataset!r}: each of the {len(copied)} {part} images is identical to one of a later split; "
                "remove the copies from the dataset"
            )
    return Split(train, val, test, *copies)


def check_labelled(name: str, labelled: bool) -> None:
    """Raise `UserError` for a dataset without masks where they are needed."""
    if not labelled:
        raise UserError(
            f"dataset {name!r}: has no masks, so it is neither a target nor a supervised source; "
            "choose another, or give a folder its masks/ and classes.txt"
        )


def _resolve(protocol: str, pool: Sequence[str], protocols: Mapping[str, Division]) -> Division:
    """Return what a protocol divides by which per cents. Raises `UserError` for one that is none."""
    if protocol == "official":
        return OFFICIAL
    if protocol in protocols:
        return protocols[protocol]
    match = re.fullmatch(r"([0-9]+)-([0-9]+)-([0-9]+)", protocol)
    if match is None:
        further = f", and the dataset's own {', '.join(map(repr, protocols))}" if protocols else ""
        raise UserError(f"protocol {protocol!r}: {ALLOWED}{further}")
    shares = [int(share) for share in match.groups()]
    if sum(shares) != 100:
        raise UserError(f"protocol {protocol!r}: {'+'.join(map(str, shares))} is not 100")
    return [(pool, shares)]


@dataclass(frozen=True)
class _HeldOut:
    """A protocol `holdout-H` or `holdout-H-own-val` with its development share, None where all images are used.

    `protocol` is `holdout-H` in both, so that both test on the same images.
    """

    protocol: str
    per_cent: int
    dev_share: float | None
    own_val: bool

    @classmethod
    def parse(cls, protocol: str, dev_share: float | None) -> "_HeldOut | None":
        """Return what a protocol holds out, None for other protocols. Raises `UserError` for a wrong `dev_share`."""
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
                f"dev_share={dev_share}: protocol {protocol!r} leaves {1 - held / 100:g} of all pictures; "
                f"allowed is a share of all above 0 and up to {1 - held / 100:g}"
            )
        undivided = dev_share is None or 100 * dev_share > 100 - held - ROUNDING
        return cls(match[1], held, None if undivided else dev_share, match[3] is not None)

    def sizes(self, count: int) -> tuple[int, int, int]:
        """Return how many of `count` images train, validate and test."""
        test = round(count * self.per_cent / 100)
        most, val, _ = _sizes(count - test, DEV_SHARES)
        if self.dev_share is None:
            return most, val, test
        if self.own_val:
            train, val, _ = _sizes(round(count * self.dev_share), DEV_SHARES)
            return train, val, test
        return min(most, round(count * self.dev_share * DEV_SHARES[0] / 100)), val, test


def _hold_out(data: Prepared, held: _HeldOut) -> list[Indices]:
    """Hold out single images. Parts of one stratified order are stratified, and its beginnings are nested."""
    order = stratified_order(data.strata, seed_for("protocol", held.protocol))
    train, val, test = held.sizes(len(order))
    if held.own_val:
        chosen = np.sort(order[test : test + train + val])
        parts = _divide_members(data, chosen, DEV_SHARES, seed_for("development", held.protocol))
        return [*parts[:2], np.sort(order[:test])]
    return [np.sort(part) for part in (order[test + val : test + val + train], order[test : test + val], order[:test])]


def _hold_out_groups(data: Prepared, held: _HeldOut) -> list[Indices]:
    """Hold out whole groups; a smaller development share has some groups of a larger one."""
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
    """Return whole groups of some images, together as nearly `count` images as can be, at least `least` groups.

    Groups are taken in a stratified order, so those for a smaller count are among those for a larger one.
    """
    group_N = group_numbers([data.groups[int(member)] for member in members])
    order = group_N[stratified_order([data.strata[int(member)] for member in members], seed)]
    sizes = np.cumsum(np.bincount(group_N)[(ranked := list(dict.fromkeys(order.tolist())))])
    taken = max(least, int(np.abs(sizes - count).argmin()) + 1)
    return members[np.isin(group_N, ranked[:taken])]


def _cross_validation(data: Prepared, protocol: str, folds: Folds, fold: int) -> list[Indices]:
    """Return what trains, validates and tests where one fold tests."""
    pool = np.flatnonzero(np.isin(data.splits, data.pool)).astype(np.int64)
    if len(pool) < folds.count:
        raise UserError(f"dataset {data.dataset!r}: protocol {protocol!r}: {len(pool)} images cannot be divided into {folds}")
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
    """Divide images by whole groups."""
    strata = [data.strata[int(member)] for member in members]
    group_N = group_numbers([data.groups[int(member)] for member in members])
    starts = max(1, min(STARTS, SWAPPED // (group_N.max() + 1)))
    orders = (stratified_order(strata, seed_for("groups", seed, start)) for start in range(starts))
    part_N = divide_groups(group_N, strata, shares, orders)
    return [members[part_N == part] for part in range(len(shares))]


def _sizes(count: int, shares: Sequence[float]) -> list[int]:
    """Return how many of so many pictures each share in per cent gets; together they are all."""
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
    """Return the split of a source: its own train and val, or a tenth of its pool held out where it has no val.

    Pictures of a test split are never trained on, unless `choice` is `all`: then all pictures of all splits are taken
    together, and a tenth of them held out.
    `limit` cuts the training part to so many pictures, stratified. `without` are numbers of images that neither train nor
    validate, as those that the target tests on. The tenth is held out by whole groups where there are several, and images
    of the training part that are identical to one that validates are left out unless leakage is only reported.
    Raises `UserError` where there are fewer than `limit`, and for a dataset without masks unless `labelled` is false.
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
        raise UserError(f"dataset {data.dataset!r}: {len(data.names)} pictures are too few for training and validation{left_out}")
    if limit is not None:
        train = np.sort(train[stratified_order([data.strata[int(member)] for member in train], seed_for("limit", seed))[:limit]])
    return Split(train.astype(np.int64), val.astype(np.int64), NONE, train_copies)


def _hold_tenth_out(data: Prepared, members: Indices, leakage: Leakage) -> tuple[Indices, Indices]:
    """Return what trains and what validates of a source's images; one group alone is divided."""
    groups = {data.groups[int(member)] for member in members} if has_groups(data) else set()
    if leakage != PREVENT or (groups and len(groups - {None}) < 2):
        data = replace(data, groups=())
    train, val, _ = _divide_members(data, members, SOURCE_SHARES, seed_for("source validation"))
    return train, val


def _without_test(pool: Sequence[str]) -> list[str]:
    return [split for split in pool if split != "test"]


def check_limit(limit: int | None, images: int, dataset: str, left_out: str = "") -> None:
    """Raise `UserError` for a limit above the number of training images of a source."""
    if limit is not None and limit > images:
        raise UserError(f"source @{limit}: dataset {dataset!r} has only {images} pictures to train on{left_out}")


def count_of_fraction(fraction: float, images: int, dataset: str) -> int:
    """Return how many of the training images a fraction takes. Raises `UserError` where it takes none."""
    if (count := round(fraction * images)) == 0:
        raise UserError(f"fraction={fraction}: leaves none of the {images} training pictures of {dataset!r}")
    return count


def subset(data: Prepared, train: Indices, fraction: float, seed: int) -> Indices:
    """Return the share of a training split that a trial sees: nested in the fraction, stratified, fixed by the seed.

    Raises `UserError` where the fraction leaves no picture.
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
    """Return how many pictures a target's protocol gives to training, validation and test, from the official splits alone.

    `protocols` are the dataset's own. Raises `UserError` for a protocol that is none, and for a wrong `dev_share`.
    """
    if (held := _HeldOut.parse(protocol, dev_share)) is not None:
        return held.sizes(len(splits))
    groups = _resolve(protocol, pool, protocols)
    sizes = [_sizes(sum(split in official for split in splits), shares) for official, shares in groups]
    train, val, test = map(sum, zip(*sizes, strict=True))
    return train, val, test


def source_sizes(splits: Sequence[str], pool: Sequence[str], limit: int | None, choice: str = "official") -> tuple[int, int]:
    """Return how many pictures a source gives to training and validation, from the official splits alone."""
    if choice == "all":
        train, val, _ = _sizes(len(splits), SOURCE_SHARES)
    elif "val" in splits and "train" in splits:
        train, val = splits.count("train"), splits.count("val")
    else:
        train, val, _ = _sizes(sum(split in _without_test(pool) for split in splits), SOURCE_SHARES)
    return min(train, limit or train), val
