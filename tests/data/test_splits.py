import hashlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from segsweep.data.prepared import Prepared
from segsweep.data.splits import source_sizes, split_sizes, split_source, split_target, stratified_order, subset
from segsweep.errors import UserError


def prepared(splits: list[str], pool=("train",), strata: list[str] | None = None, classes=("a", "b"), protocols=None) -> Prepared:
    empty = np.empty((len(splits), 1, 1), np.uint8)
    moments, pixels = np.zeros((len(splits), 2, 3)), np.zeros((len(splits), len(classes) + 1), np.int64)
    strata = strata or [f"class {number % 3}" for number in range(len(splits))]
    names = [str(number) for number in range(len(splits))]
    return Prepared("made", empty, empty, classes, pool, names, splits, strata, moments, pixels, protocols or {})


PETS = prepared(["trainval"] * 370 + ["test"] * 30, ("trainval",), [f"breed {n % 37}" for n in range(370)] + ["breed 0"] * 30)
OWN_SPLITS = prepared(["train"] * 50 + ["val"] * 20 + ["test"] * 10, ("train", "val", "test"))


def shares(members, data: Prepared) -> Counter:
    return Counter(data.strata[int(member)] for member in members)


def fingerprint(split) -> str:
    return hashlib.sha256(b"".join(getattr(split, part).tobytes() + b"|" for part in ("train", "val", "test"))).hexdigest()[:12]


@pytest.mark.parametrize(("protocol", "sizes"), [("60-20-20", (222, 74, 74)), ("80-10-10", (296, 37, 37))])
def test_a_protocol_gives_its_sizes_from_the_pool(protocol, sizes):
    """Per cents divide only the pool: each of its images is in exactly one part, in order, and no other image is."""
    split = split_target(PETS, protocol)
    parts = (split.train, split.val, split.test)
    assert tuple(map(len, parts)) == sizes
    assert sorted(np.concatenate(parts).tolist()) == list(range(370))
    assert all(np.array_equal(part, np.sort(part)) and part.dtype == np.int64 for part in parts)


def test_the_paper_sized_split():
    """60-20-20 of the official 3,680 images is 2,208, 736 and 736."""
    assert split_sizes(["trainval"] * 3680 + ["test"] * 3669, ["trainval"], "60-20-20") == (2208, 736, 736)


def test_a_split_is_stratified():
    """Each part has each breed in its share, within one image."""
    split = split_target(PETS, "60-20-20")
    for part, share in ((split.train, 6), (split.val, 2), (split.test, 2)):
        counts = shares(part, PETS)
        assert len(counts) == 37
        assert all(abs(count - share) <= 2 for count in counts.values())


def test_a_split_depends_only_on_data_and_protocol():
    """Equal data and protocol give an equal, pinned split; another protocol divides in another order."""
    first, again = split_target(PETS, "60-20-20"), split_target(PETS, "60-20-20")
    assert all(np.array_equal(getattr(first, part), getattr(again, part)) for part in ("train", "val", "test"))
    assert np.array_equal(split_target(PETS, "60-20-20").test, first.test)
    assert first.test[:6].tolist() == [1, 2, 4, 7, 20, 22]
    assert not np.array_equal(split_target(PETS, "20-60-20").test, first.test)


@pytest.mark.parametrize(
    ("data", "protocol", "pinned"),
    [
        ("pets", "60-20-20", "c21a49e8a4e3"),
        ("pets", "70-10-20", "14bf19ef675d"),
        ("own", "60-20-20", "2230f6dd94c3"),
        ("own", "70-10-20", "6647d1a94842"),
        ("own", "50-25-25", "5c91cedda88c"),
        ("own", "official", "4990cb521a81"),
    ],
)
def test_target_splits_never_change(data, protocol, pinned):
    """The members of every part are those of earlier results."""
    assert fingerprint(split_target({"pets": PETS, "own": OWN_SPLITS}[data], protocol)) == pinned


@pytest.mark.parametrize(
    ("data", "limit", "seed", "pinned"),
    [
        ("pets", None, 0, "6aa6a35528ec"),
        ("pets", 20, 0, "e2035870377c"),
        ("pets", 20, 3, "6624e2ef5be7"),
        ("own", None, 0, "fb2848afe2ab"),
        ("own", 20, 0, "e6aabaaf072c"),
        ("own", 20, 3, "efb27dd3ffd8"),
    ],
)
def test_source_splits_never_change(data, limit, seed, pinned):
    """The members of a source's parts are those of earlier results."""
    assert fingerprint(split_source({"pets": PETS, "own": OWN_SPLITS}[data], limit, seed)) == pinned


def test_official_uses_the_official_splits():
    """`official` returns the dataset's three splits."""
    split = split_target(OWN_SPLITS, "official")
    assert split.train.tolist() == list(range(50))
    assert split.val.tolist() == list(range(50, 70))
    assert split.test.tolist() == list(range(70, 80))


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("60-20-30", "60.20.30 is not 100"),
        ("60-40", "allowed are per cents as 60-20-20"),
        ("60-20-20-0", "allowed are per cents"),
        ("0.6-0.2-0.2", "allowed are per cents"),
        ("Official", "'official'"),
        ("100-0-0", "leaves the val split empty"),
        ("80-20-0", "leaves the test split empty"),
        ("0-50-50", "leaves the train split empty"),
        ("official", "leaves the train split empty"),
    ],
)
def test_a_wrong_protocol_is_refused(protocol, message):
    """An unknown protocol, or one that leaves a part empty, raises one line with the protocol and the allowed ones."""
    with pytest.raises(UserError, match=message) as raised:
        split_target(PETS, protocol)
    assert protocol in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("protocol", ["60-20-30", "60-40", "Official", "a-b-c"])
def test_sizes_of_a_wrong_protocol_are_refused(protocol):
    """The sizes for a plan raise for a wrong protocol, as the split does."""
    with pytest.raises(UserError, match="protocol"):
        split_sizes(["train"] * 10, ["train"], protocol)


def test_too_few_images_are_refused():
    """If there are too few images for a part, the error names the part."""
    with pytest.raises(UserError, match=r"leaves the (val|test) split empty"):
        split_target(prepared(["train"] * 2), "60-20-20")


@pytest.mark.parametrize("count", [*range(5, 60), 99, 150, 1225])
def test_sizes_agree_with_the_target_split(count):
    """The sizes for a plan are those of the real split, for every rounding."""
    data = prepared(["train"] * count + ["other"] * 3)
    for train in range(20, 90, 7):
        for val in range(20, 100 - train, 9):
            protocol = f"{train}-{val}-{100 - train - val}"
            sizes = split_sizes(data.splits, data.pool, protocol)
            if 0 in sizes:
                continue
            split = split_target(data, protocol)
            assert sizes == (len(split.train), len(split.val), len(split.test))


@pytest.mark.parametrize("count", [*range(6, 60), 150, 1225])
def test_sizes_agree_with_the_source_split(count):
    """The sizes for a plan are those of the real split of a source without validation, for every rounding."""
    data = prepared(["train"] * count)
    for limit in (None, 1, 5):
        split = split_source(data, limit, 0)
        assert source_sizes(data.splits, data.pool, limit) == (len(split.train), len(split.val))


OWN_PROTOCOLS = prepared(
    ["trainval"] * 41 + ["test"] * 39,
    ("trainval",),
    protocols={"50-25-25": [[["trainval"], [100, 0, 0]], [["test"], [0, 50, 50]]]},
)


def test_a_datasets_protocol_divides_official_splits():
    """A protocol that the dataset declares divides each official split by separate per cents, and its sizes agree."""
    split = split_target(OWN_PROTOCOLS, "50-25-25")
    assert split.train.tolist() == list(range(41))
    assert sorted([*split.val, *split.test]) == list(range(41, 80))
    assert all(part.dtype == np.int64 and np.array_equal(part, np.sort(part)) for part in (split.val, split.test))
    sizes = split_sizes(OWN_PROTOCOLS.splits, ("trainval",), "50-25-25", protocols=OWN_PROTOCOLS.protocols)
    assert sizes == (41, len(split.val), len(split.test)) == (41, 20, 19)
    assert all(abs(count - 39 / 6) <= 1.5 for count in shares(split.val, OWN_PROTOCOLS).values())


def test_a_wrong_protocol_lists_those_of_the_dataset():
    """An unknown protocol is refused with the allowed ones, including those of the dataset."""
    with pytest.raises(UserError, match=r"'60/20/20'.*'holdout-20' \(per cent for the test\), and the dataset's '50-25-25'"):
        split_target(OWN_PROTOCOLS, "60/20/20")


@pytest.mark.parametrize("own_val", ["", "-own-val"])
@pytest.mark.parametrize("held", [1, 20, 37, 90])
def test_held_out_images_are_the_same_for_every_share(held, own_val):
    """The test split of `holdout-H` is H per cent of all official splits, stratified, for any development share."""
    whole = split_target(PETS, f"holdout-{held}{own_val}")
    assert len(whole.test) == round(400 * held / 100)
    assert np.array_equal(whole.test, split_target(PETS, f"holdout-{held}").test)
    assert sorted(np.concatenate([whole.train, whole.val, whole.test]).tolist()) == list(range(400))
    for share in (0.05, (100 - held) / 200, (100 - held) / 100):
        assert np.array_equal(split_target(PETS, f"holdout-{held}{own_val}", share).test, whole.test)


def test_development_shares_train_on_nested_parts_and_validate_on_one():
    """Nine tenths of each share train, and those of a smaller share are part of a larger one's; one tenth of the images outside
    the test split validates for all shares.
    """
    splits = [split_target(PETS, "holdout-20", share) for share in (0.1, 0.2, 0.5, 0.8)]
    assert [len(split.train) for split in splits] == [36, 72, 180, 288]
    assert {len(split.val) for split in splits} == {32}
    assert len({split.val.tobytes() for split in splits}) == 1
    for smaller, larger in pairwise(splits):
        assert set(smaller.train.tolist()) < set(larger.train.tolist())
    for split in splits:
        assert not {*split.val.tolist(), *split.test.tolist()} & set(split.train.tolist())
    whole = shares(np.arange(400), PETS)
    for part, share in ((splits[0].train, 0.09), (splits[2].train, 0.45), (splits[0].val, 0.08), (splits[0].test, 0.2)):
        assert all(abs(shares(part, PETS)[stratum] - share * count) <= 2 for stratum, count in whole.items())
    assert fingerprint(splits[-1]) == fingerprint(split_target(PETS, "holdout-20")) == "65901bc3fc2e"


@pytest.mark.parametrize("share", [0.101, 0.11, 0.2, 0.333, 0.5, 0.72, 0.799])
def test_a_share_does_not_depend_on_other_shares(share):
    """The training and validation images of a share depend on this share only: the sizes follow the protocol's definition."""
    data = prepared(["train"] * 1000)
    split = split_target(data, "holdout-20", share)
    assert (len(split.train), len(split.val), len(split.test)) == (round(900 * share), 80, 200)
    assert set(split.train.tolist()) < set(split_target(data, "holdout-20", share + 0.001).train.tolist()) or share > 0.79


@pytest.mark.parametrize(("share", "pinned"), [(0.2, "7a46b38ac44e"), (0.5, "44903f161028"), (0.8, "3423420b1748")])
def test_with_own_val_each_share_is_divided(share, pinned):
    """`holdout-H-own-val` divides each development share 90:10, as the paper of study 5 does; the members are those of earlier
    results.
    """
    split = split_target(PETS, "holdout-20-own-val", share)
    assert (len(split.train), len(split.val)) == (round(360 * share), round(40 * share))
    assert fingerprint(split) == pinned
    members = {*split.train.tolist(), *split.val.tolist()}
    assert members <= {*(whole := split_target(PETS, "holdout-20-own-val")).train.tolist(), *whole.val.tolist()}


@pytest.mark.parametrize("own_val", ["", "-own-val"])
@pytest.mark.parametrize("count", [*range(8, 40), 99, 598, 7349])
def test_sizes_agree_with_the_held_out_images(count, own_val):
    """The sizes for a plan are those of the real split, for every rounding and share."""
    data = prepared(["trainval"] * (count // 2) + ["test"] * (count - count // 2))
    for held in (10, 20, 50, 55):
        for share in (None, 0.2, 0.3, 0.45, (100 - held) / 100):
            if share is not None and 100 * share > 100 - held + 1e-9:
                continue
            sizes = split_sizes(data.splits, data.pool, f"holdout-{held}{own_val}", share)
            if 0 in sizes:
                continue
            split = split_target(data, f"holdout-{held}{own_val}", share)
            assert sizes == (len(split.train), len(split.val), len(split.test))


@pytest.mark.parametrize(
    ("protocol", "share", "message"),
    [
        ("60-20-20", 0.5, r"dev_share=0\.5: protocol '60-20-20' has no development share; only 'holdout-H' has one"),
        ("official", 0.5, "has no development share"),
        ("holdout-20", 0.81, r"dev_share=0\.81: .* leaves 0\.8 of all images; allowed is .* above 0 and up to 0\.8"),
        ("holdout-20", 0.0, "above 0 and up to"),
        ("holdout-20", -0.1, "above 0 and up to"),
        ("holdout-20", float("nan"), "above 0 and up to"),
        ("holdout-0", None, "'holdout-0': allowed are"),
        ("holdout-100", None, "'holdout-100': allowed are"),
        ("holdout-20-80", None, "allowed are"),
        ("holdout-20-val", None, "allowed are"),
        ("holdout-20-own-val", 0.81, "leaves 0.8 of all images"),
        ("holdout-20", 0.001, "leaves the train split empty"),
        ("holdout-20-own-val", 0.01, "leaves the val split empty"),
    ],
)
def test_a_wrong_share_is_refused(protocol, share, message):
    """A share that the protocol does not support, or that is too large or too small, is one line; the sizes refuse it too."""
    with pytest.raises(UserError, match=message) as raised:
        split_target(PETS, protocol, share)
    assert "\n" not in str(raised.value)
    if "empty" not in message:
        with pytest.raises(UserError, match=message):
            split_sizes(PETS.splits, PETS.pool, protocol, share)


def test_sizes_agree_with_official_splits():
    """A source with train and val uses them, and its sizes agree."""
    split = split_source(OWN_SPLITS, 7, 3)
    assert source_sizes(OWN_SPLITS.splits, OWN_SPLITS.pool, 7) == (len(split.train), len(split.val)) == (7, 20)
    assert split_sizes(OWN_SPLITS.splits, OWN_SPLITS.pool, "official") == (50, 20, 10)
    assert set(split.train.tolist()) <= set(range(50))
    assert split.val.tolist() == list(range(50, 70))
    assert len(split.test) == 0


def test_a_source_without_validation_holds_a_tenth_out():
    """A tenth of the pool validates, stratified, without the training images, and equal for every seed and limit."""
    split = split_source(PETS, None, 0)
    assert (len(split.train), len(split.val)) == (333, 37)
    assert set(split.train) | set(split.val) == set(range(370))
    assert np.array_equal(split.val, split_source(PETS, 10, 5).val)


def test_a_limit_is_stratified_nested_and_seeded():
    """`@N` keeps N images: equal for equal seeds, others for another; those of a smaller limit are part of a larger one's."""
    small, large = split_source(PETS, 74, 1).train, split_source(PETS, 148, 1).train
    assert (len(small), len(large)) == (74, 148)
    assert set(small) < set(large) < set(split_source(PETS, None, 1).train)
    assert np.array_equal(small, split_source(PETS, 74, 1).train)
    assert not np.array_equal(small, split_source(PETS, 74, 2).train)
    assert len(shares(large, PETS)) == 37


def test_a_limit_beyond_the_data_is_refused():
    """A limit above the number of training images raises with both numbers."""
    with pytest.raises(UserError, match=r"source @334: dataset 'made' has only 333 images"):
        split_source(PETS, 334, 0)
    with pytest.raises(UserError, match="1 images are too few"):
        split_source(prepared(["train"]), None, 0)


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_fractions_are_nested_and_stratified(seed):
    """A smaller fraction is part of a larger one at the same seed, each has every stratum in its share; 1 keeps all images."""
    train = split_target(PETS, "60-20-20").train
    taken = [subset(PETS, train, fraction, seed) for fraction in (0.1, 0.2, 0.5, 0.9, 1.0)]
    assert [len(part) for part in taken] == [22, 44, 111, 200, 222]
    for smaller, larger in pairwise(taken):
        assert set(smaller.tolist()) < set(larger.tolist())
    assert np.array_equal(taken[-1], train)
    whole = shares(train, PETS)
    assert all(abs(shares(taken[2], PETS)[stratum] - count / 2) <= 1 for stratum, count in whole.items())


def test_fractions_differ_by_seed_and_repeat():
    """Another seed chooses other images; the same seed chooses the same."""
    train = split_target(PETS, "60-20-20").train
    assert np.array_equal(subset(PETS, train, 0.3, 1), subset(PETS, train, 0.3, 1))
    assert len({subset(PETS, train, 0.3, seed).tobytes() for seed in range(10)}) == 10


def test_a_fraction_without_images_is_refused():
    """A fraction of less than half an image raises with the numbers."""
    with pytest.raises(UserError, match=r"fraction=0\.001: leaves none of the 222 training images of 'made'"):
        subset(PETS, split_target(PETS, "60-20-20").train, 0.001, 0)


def test_a_stratified_order_is_a_fair_shuffle():
    """An order has every position once, and over the seeds each stratum's members are at every place about equally often."""
    strata = ["a"] * 6 + ["b"] * 3
    orders = np.array([stratified_order(strata, seed) for seed in range(600)])
    assert all(sorted(order) == list(range(9)) for order in orders.tolist())
    first = np.bincount(orders[:, :3].ravel(), minlength=9)
    assert first.min() > 140
    assert first.max() < 260
    in_first_third = (orders[:, :3] >= 6).sum(axis=1)
    assert 0 < in_first_third.mean() < 2


def test_splits_do_not_use_the_global_random_state():
    """Splitting neither reads nor changes numpy's global random state."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    split_target(PETS, "60-20-20")
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_no_other_module_divides_images():
    """Splits are made in one file: no other module of the data package creates a random generator."""
    folder = Path(__file__).parents[2] / "segsweep" / "data"
    users = {path.name for path in folder.glob("*.py") if "default_rng" in path.read_text(encoding="utf-8")}
    assert users == {"splits.py"}
