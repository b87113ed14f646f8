"""Cross-validation protocols: the test, validation and training images of every fold."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from segsweep.config.folds import Folds, folds_of
from segsweep.data.prepared import Prepared
from segsweep.data.splits import Split, split_target
from segsweep.errors import UserError


def made(strata: list[str], groups: list[str | None] | None = None) -> Prepared:
    """Return a dataset without arrays, all of whose images are in the pool."""
    count = len(strata)
    empty, names = np.empty((count, 0, 0), np.uint8), [f"{number:03d}" for number in range(count)]
    moments, pixels = np.zeros((count, 2, 3)), np.zeros((count, 3), np.int64)
    return Prepared(
        "made",
        empty,
        empty,
        ("a", "b"),
        ("all",),
        names,
        ["all"] * count,
        strata,
        moments,
        pixels,
        groups=groups or [None] * count,
    )


def in_groups(sizes: list[int]) -> Prepared:
    """Return a dataset of groups of these sizes, of two strata."""
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return made([f"s{number % 2}" for number in range(len(groups))], groups)


def parts_of(data: Prepared, split: Split) -> list[set[str]]:
    """Return the groups of the three parts."""
    return [{str(data.groups[int(member)]) for member in part} for part in (split.train, split.val, split.test)]


BREEDS = made([f"breed {number % 37}" for number in range(370)])


def splits(protocol: str, data: Prepared = BREEDS) -> list[Split]:
    folds = folds_of(protocol)
    assert folds is not None
    return [split_target(data, protocol, fold=fold) for fold in folds.numbers]


@pytest.mark.parametrize("protocol", ["5-fold", "2-fold", "3x4-fold", "37-fold"])
def test_every_image_tests_once_per_repetition(protocol):
    """The folds of each repetition divide the pool: every image is a test image once, and sizes differ by at most one."""
    folds = folds_of(protocol)
    tests = [split.test for split in splits(protocol)]
    for first in range(0, len(tests), folds.count):
        repetition = tests[first : first + folds.count]
        assert sorted(np.concatenate(repetition).tolist()) == list(range(370))
        assert max(map(len, repetition)) - min(map(len, repetition)) <= 1


def test_training_validation_and_test_are_disjoint_and_complete():
    """In every fold, the three parts share no image and make up the pool, and an eighth of the images outside the test fold
    validates.
    """
    for split in splits("5-fold"):
        parts = [set(part.tolist()) for part in (split.train, split.val, split.test)]
        assert all(not one & other for one, other in combinations(parts, 2))
        assert set().union(*parts) == set(range(370))
        assert abs(len(split.val) - 296 / 8) <= 1


def test_folds_are_stratified():
    """Each of 37 breeds of 10 images has 2 images in each of 5 folds, within one."""
    for split in splits("5-fold"):
        counts = Counter(BREEDS.strata[int(member)] for member in split.test)
        assert len(counts) == 37
        assert set(counts.values()) <= {1, 2, 3}


def test_repetitions_differ_and_are_reproducible():
    """Another repetition has other folds; the same fold is always the same."""
    first, again = splits("2x5-fold"), splits("2x5-fold")
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.test, other.test)
        assert np.array_equal(one.val, other.val)
    tests = [set(split.test.tolist()) for split in first]
    assert all(one not in tests[5:] for one in tests[:5])


def test_groups_are_not_divided_by_folds():
    """Every group is in the test part of one fold only, and in one part of each fold."""
    data = in_groups([4, 3, 5, 4, 3, 6, 4, 5, 4, 3])
    tested = Counter()
    for split in splits("5-fold", data):
        parts = parts_of(data, split)
        assert all(parts)
        assert all(not one & other for one, other in combinations(parts, 2))
        tested.update(parts[2])
    assert tested == dict.fromkeys(set(data.groups), 1)


def test_three_drives_make_three_folds():
    """With three groups, each is the test part once, another validates, and the third trains; five folds are refused."""
    data = in_groups([20, 16, 10])
    for split in splits("3-fold", data):
        assert [len(part) for part in parts_of(data, split)] == [1, 1, 1]
    with pytest.raises(UserError, match=r"46 images in 3 groups .* cannot be divided into 5 parts"):
        splits("5-fold", data)


@pytest.mark.parametrize(
    ("protocol", "folds"),
    [
        ("5-fold", Folds(5)),
        ("5x2-fold", Folds(2, 5)),
        ("10-fold", Folds(10)),
        ("60-20-20", None),
        ("fold", None),
    ],
)
def test_a_protocol_names_its_folds(protocol, folds):
    """`K-fold` and `RxK-fold` are recognised; all other texts are other protocols."""
    assert folds_of(protocol) == folds


@pytest.mark.parametrize("protocol", ["0x2-fold", "05-fold", "3x-fold", "5-Fold"])
def test_a_misspelt_number_of_folds_is_refused(protocol):
    """A misspelt number of folds is refused, and the message shows the correct form."""
    with pytest.raises(UserError, match="must be written '5-fold'"):
        folds_of(protocol)


def test_a_single_fold_is_refused():
    """One fold would leave no training image."""
    with pytest.raises(UserError, match="protocol '1-fold': needs at least 2 folds"):
        folds_of("1-fold")
    with pytest.raises(UserError, match="370 images cannot be divided into 400 folds"):
        split_target(BREEDS, "400-fold", fold=1)
