"""Groups, such as the frames of a video, stay on one side of a split, or the error explains why they cannot."""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segsweep.config import Target
from segsweep.data.camvid import CamVid
from segsweep.data.dataset import Example
from segsweep.data.folder import Folder
from segsweep.data.groups import divide_groups, group_numbers, groups_by_pattern
from segsweep.data.prepare import DataSpec, prepare, prepared_key
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_source, split_target
from segsweep.errors import UserError


def in_groups(sizes: list[int], split: str = "train", strata: int = 2) -> Prepared:
    """Return a dataset of groups `g0`, `g1` ... of these sizes, named `g0_0`, `g0_1` ..., without arrays."""
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    names = [f"{group}_{at}" for at, group in enumerate(groups)]
    empty, count = np.empty((len(names), 0, 0), np.uint8), len(names)
    return Prepared(
        "made", empty, empty, ("a", "b"), ("train", "val", "test"), names, [split] * count,
        [f"s{at % strata}" for at in range(count)], np.zeros((count, 2, 3)), np.zeros((count, 3), np.int64), groups=groups,
    )  # fmt: skip


def groups_of(data: Prepared, members) -> set[str | None]:
    return {data.groups[int(member)] for member in members}


def parts_of(data: Prepared, split) -> list[set[str | None]]:
    return [groups_of(data, part) for part in (split.train, split.val, split.test)]


def is_whole(data: Prepared, split) -> bool:
    """Return whether every group is in one part."""
    parts = parts_of(data, split)
    return sum(map(len, parts)) == len(set().union(*parts))


@pytest.mark.parametrize(
    ("protocol", "share"), [("60-20-20", None), ("34-33-33", None), ("holdout-20", None), ("holdout-20", 0.4), ("mine", None)]
)
def test_no_group_is_divided(protocol, share):
    """Under every protocol in per cent, each group is in one part, and no part is empty."""
    data = replace(in_groups([12, 3, 9, 12, 1, 7, 20, 5]), protocols={"mine": [[["train"], [50, 25, 25]]]})
    split = split_target(data, protocol, share)
    assert is_whole(data, split)
    assert all(parts_of(data, split))
    if share is None:
        assert sorted(np.concatenate([split.train, split.val, split.test]).tolist()) == list(range(69))


def test_five_videos_divide_as_three_one_one():
    """Five videos of twelve frames under 60-20-20 are divided 3, 1 and 1, by the study's pattern as by the dataset's groups."""
    data = in_groups([12] * 5)
    own = split_target(data, "60-20-20")
    found = split_target(replace(data, groups=()), "60-20-20", groups="^(g[0-9]+)_")
    assert [len(part) for part in parts_of(data, own)] == [3, 1, 1]
    assert parts_of(data, found) == parts_of(data, own)
    assert not is_whole(data, split_target(replace(data, groups=()), "60-20-20"))  # the fault: frames on both sides


def test_sizes_are_as_close_as_whole_groups_allow():
    """For random groups, almost every division is the closest possible to the shares, and the others are close to it."""
    rng, worse = np.random.default_rng(5), 0
    for number in range(60):
        shares = [(60, 20, 20), (70, 10, 20), (90, 10, 0)][number % 3]
        sizes = rng.integers(1, 50, rng.integers(3, 8))
        group_N = np.repeat(np.arange(len(sizes)), sizes)
        strata = [f"s{value}" for value in rng.integers(0, 3, len(group_N))]
        found = divide_groups(group_N, strata, shares, [rng.permutation(len(group_N)) for _ in range(12)])
        parts = [part for part in range(3) if shares[part]]
        wanted = [round(share * len(group_N) / 100) for share in shares]

        def distance(assigned, sizes=sizes, wanted=wanted) -> int:
            held = [sizes[np.asarray(assigned) == part].sum() for part in range(3)]
            return sum((one - other) ** 2 for one, other in zip(held, wanted, strict=True))

        best = min(distance(each) for each in product(parts, repeat=len(sizes)) if set(each) == set(parts))
        mine = distance([found[group_N == group][0] for group in range(len(sizes))])
        assert all(len(set(found[group_N == group].tolist())) == 1 for group in range(len(sizes)))
        assert mine <= best + 4
        worse += mine > best
    assert worse <= 2


def test_groups_are_stratified_where_sizes_allow():
    """Among divisions of equal sizes, one is chosen in which every part shows every stratum."""
    groups = [f"g{number}" for number in range(20) for _ in range(5)]
    strata = ["rare" if number % 5 == 0 else "common" for number in range(20) for _ in range(5)]
    data = replace(in_groups([5] * 20), groups=groups, strata=strata)
    split = split_target(data, "50-25-25")
    counts = [Counter(strata[int(member)] for member in part) for part in (split.train, split.val, split.test)]
    assert [count["rare"] for count in counts] == [10, 5, 5]


def test_a_group_split_repeats_and_differs_by_protocol():
    """Equal data give an equal split every time."""
    data = in_groups([4, 9, 3, 8, 2, 6, 5, 7])
    first, again = split_target(data, "60-20-20"), split_target(data, "60-20-20")
    assert all(np.array_equal(getattr(first, part), getattr(again, part)) for part in ("train", "val", "test"))


@pytest.mark.parametrize("own_val", ["", "-own-val"])
def test_smaller_development_shares_have_some_of_the_groups(own_val):
    """`holdout-H` has the same test groups for every share, and a smaller share trains on a subset of a larger one's groups."""
    data = in_groups([10] * 20)
    splits = [split_target(data, f"holdout-20{own_val}", share) for share in (0.2, 0.5, 0.8)]
    held = [groups_of(data, split.test) for split in splits]
    developed = [groups_of(data, np.concatenate([split.train, split.val])) for split in splits]
    assert held[0] == held[1] == held[2]
    assert developed[0] < developed[1] < developed[2]
    assert list(map(len, developed)) == ([4, 10, 16] if own_val else [6, 11, 16])
    assert all(is_whole(data, split) for split in splits)


def test_all_development_shares_validate_on_the_same_groups():
    """With groups too, a smaller share trains on a subset of the groups of a larger one, and all shares validate on the same
    groups.
    """
    data = in_groups([4, 9, 3, 8, 2, 6, 5, 7] * 4)
    splits = [split_target(data, "holdout-20", share) for share in (0.05, 0.2, 0.5, 0.8)]
    assert len({split.val.tobytes() for split in splits}) == 1
    trained = [groups_of(data, split.train) for split in splits]
    assert trained[0] < trained[1] < trained[2] < trained[3]
    assert np.array_equal(splits[3].train, split_target(data, "holdout-20").train)
    for split, share in zip(splits, (0.05, 0.2, 0.5, 0.8), strict=True):
        assert is_whole(data, split)
        assert abs(len(split.train) - 0.9 * share * len(data.names)) <= 9


@pytest.mark.parametrize("protocol", ["60-20-20", "holdout-20"])
def test_too_few_groups_are_one_error(protocol):
    """Two groups cannot become three parts: one line names them and the remedy."""
    with pytest.raises(UserError, match=r"'made': 20 images in 2 groups \(g0, g1\) cannot be divided into 3 parts") as caught:
        split_target(in_groups([10, 10]), protocol)
    assert "\n" not in str(caught.value)


def test_images_without_a_group_stand_alone():
    """If some images have no group, each of them is divided like a group of one."""
    data = in_groups([10, 10, 10])
    data = replace(data, groups=[*data.groups[:10], *[None] * 20])
    split = split_target(data, "60-20-20")
    assert [len(part) for part in (split.train, split.val, split.test)] == [18, 6, 6]
    assert sum("g0" in part for part in parts_of(data, split)) == 1
    assert group_numbers(["a", None, "a", None]).tolist() == [0, 1, 0, 2]


def test_as_published_divides_groups():
    """With leakage='report', the split equals that of a dataset without groups."""
    data = in_groups([12] * 5)
    published = split_target(data, "60-20-20", leakage="report", groups="^(g[0-9]+)_")
    plain = split_target(replace(data, groups=()), "60-20-20")
    assert np.array_equal(published.test, plain.test)
    assert np.array_equal(published.train, plain.train)


def test_a_source_holds_out_whole_groups():
    """A source validates on whole groups; a source with a single group is divided, since no result is measured on it."""
    split = split_source(in_groups([10] * 10), None, 0)
    assert is_whole(in_groups([10] * 10), split)
    assert (len(split.train), len(split.val)) == (90, 10)
    alone = split_source(in_groups([30]), None, 0)
    assert (len(alone.train), len(alone.val)) == (27, 3)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("video", "has 0 groups in parentheses"),
        ("(a)(b)", "has 2 groups in parentheses"),
        ("(a", "is not a regular expression"),
        ("", "has 0 groups"),
        (7, "has 0 groups"),
    ],
)
def test_a_wrong_pattern_is_refused_with_the_study(pattern, message):
    """An invalid pattern, or one without exactly one group, is refused when the target is declared."""
    with pytest.raises(UserError, match=message) as caught:
        Target("pets", groups=pattern)
    assert "as '^(video[0-9]+)_'" in str(caught.value)


def test_a_wrong_leakage_is_refused():
    """Only `prevent` and `report` are allowed."""
    with pytest.raises(UserError, match=r"Target leakage='ignore': allowed are 'prevent', 'report'"):
        Target("pets", leakage="ignore")


@pytest.mark.parametrize("pattern", ["^(h[0-9]+)_", "_(x?)"])
def test_a_pattern_that_finds_nothing_is_refused(pattern):
    """Names without a group, or with an empty one, are an error that counts and lists such images."""
    with pytest.raises(UserError, match=r"finds no group for 12 of the 12 images of dataset 'made' \('g0_0', 'g0_1', 'g0_2', "):
        split_target(in_groups([4, 4, 4]), "60-20-20", groups=pattern)
    with pytest.raises(UserError, match=r"finds no group for 1 of the 2 images .* \('b'\)"):
        groups_by_pattern(["a1", "b"], "(a)", "made")


ROWS = "p0,x\np1,x\np2,y\np3,y\np4,z\np5,z\n"


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        "name,group\n" + ROWS,
        "Image,Patient\n" + ROWS,
        "\ufeff" + ROWS.replace("\n", "\r\n"),
        "\ufeffname;group\r\n" + ROWS.replace(",", ";").replace("\n", "\r\n"),
        ROWS.replace(",", ".jpg , "),
        ROWS.replace("\n", "\n\n").replace(",", "\t"),
        ROWS.replace("x", '"x"'),
    ],
)
def test_groups_csv_is_read_as_people_write_it(layouts, text):
    """Headings, byte order marks, CRLF, file suffixes, blanks, `;`, tabs and quotes are all accepted."""
    folder = layouts.plain()
    (folder / "groups.csv").write_bytes(text.encode())
    data = Folder(folder, "mine")
    assert [example.group for example in data.examples()] == ["x", "x", "y", "y", "z", "z"]
    assert folder / "groups.csv" in data.files()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS + "p9,z\n", r"groups\.csv: line 7 names 'p9', but there is no such image"),
        ("p9,z\n" + ROWS, r"line 1 names 'p9', but there is no such image"),
        (ROWS + "p0,z\n", "line 7 names 'p0' again; an image has one group"),
        (ROWS.replace("p5,z\n", ""), "has no group for 'p5'; every image needs one"),
        (ROWS.replace("p5,z\n", "").replace("p4,z\n", ""), r"has no group for 'p4', \.\.\. \(2 in all\)"),
        (ROWS.replace("p5,z", "p5,"), "line 6 reads 'p5,'; must be NAME,GROUP"),
        (ROWS.replace("p5,z", "p5"), "line 6 reads 'p5'; must be NAME,GROUP"),
        (ROWS.replace("p5,z", "p5,z,1"), "line 6 reads 'p5,z,1'; must be NAME,GROUP"),
        ("", "has no group for 'p0'"),
    ],
)
def test_a_wrong_groups_csv_is_one_line(layouts, text, message):
    """Unknown, repeated and missing names and lines without a group are refused, with the line."""
    folder = layouts.plain()
    (folder / "groups.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        Folder(folder, "mine").examples()
    assert "\n" not in str(caught.value)


def test_groups_are_part_of_prepared_data(layouts, store, quiet):
    """The groups of a folder are used in its split, and another groups.csv gives other prepared data."""
    folder = layouts.plain(count=12)
    write = lambda of: (folder / "groups.csv").write_text("".join(f"p{at},{of(at)}\n" for at in range(12)))  # noqa: E731
    keys = [prepared_key(DataSpec(Folder(folder, "mine"), None, 16), store, quiet)]
    write(lambda at: at // 3)
    keys.append(prepared_key(DataSpec(Folder(folder, "mine"), None, 16), store, quiet))
    data = prepare(DataSpec(Folder(folder, "mine"), None, 16), store, quiet)
    assert is_whole(data, split_target(data, "50-25-25"))
    assert data.groups == tuple(str(int(name[1:]) // 3) for name in data.names)
    write(lambda at: at % 4)
    keys.append(prepared_key(DataSpec(Folder(folder, "mine"), None, 16), store, quiet))
    assert len(set(keys)) == 3


def test_groups_of_a_dataset_object_are_part_of_its_key(layouts, store, quiet):
    """A user's dataset that returns other groups for the same files is other data; a group that is not a string is refused."""

    @dataclass(frozen=True)
    class Patients(Folder):
        length: Any = 1

        def examples(self) -> list[Example]:
            group = (lambda name: name[: self.length]) if isinstance(self.length, int) else lambda _: 7.5
            return [replace(example, group=group(example.name)) for example in super().examples()]

    folder = layouts.plain()
    requests = [DataSpec(Patients(folder, "mine", length), None, 16) for length in (1, 2, None)]
    assert len({prepared_key(request, store, quiet) for request in requests}) == 3
    assert prepare(requests[1], store, quiet).groups == ("p0", "p1", "p2", "p3", "p4", "p5")
    with pytest.raises(UserError, match=r"p0: group=7\.5: must be a text or None"):
        prepare(requests[2], store, quiet)


def test_camvid_is_divided_by_drives(tmp_path, store, quiet):
    """CamVid's groups are its four drives, which are prefixes of the names of its frames: 60-20-20 divides none of them."""
    drives = {"0001TP_%06d": 5, "0006R0_f%05d": 4, "0016E5_%05d": 12, "Seq05VD_f%05d": 4}
    rng = np.random.default_rng(0)
    for number, name in enumerate(form % at for form, count in drives.items() for at in range(count)):
        split = ("train", "val", "test")[number % 3]
        for part, values in ((split, rng.integers(0, 255, (16, 16, 3))), (f"{split}annot", rng.integers(0, 11, (16, 16)))):
            (tmp_path / "camvid" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / "camvid" / part / f"{name}.png")
    data = prepare(DataSpec(CamVid(tmp_path / "camvid"), None, 16), store, quiet)
    split = split_target(data, "60-20-20")
    assert set(data.groups) == {"0001TP", "0006R0", "0016E5", "Seq05VD"}
    assert is_whole(data, split)
    official = split_target(data, "official")
    assert [len(part) for part in (official.train, official.val, official.test)] == [9, 8, 8]
