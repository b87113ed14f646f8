import subprocess
import sys

import pytest

from segsweep.config.digest import digest, seed_for


@pytest.mark.parametrize(
    ("value", "pinned"),
    [
        ({}, "44136fa355b3678a1146"),
        ({"a": 1, "b": [1.5, None, "ä"]}, "7f75960ce37c81d693fa"),
        (["x", True, 1e-05], "6588de032f87ffdaec94"),
    ],
)
def test_digests_are_pinned(value, pinned):
    """Digests never change between versions: they are the keys of everything in a store."""
    assert digest(value) == pinned


def test_digests_ignore_the_order_of_keys():
    """Equal mappings have equal digests at every depth, and the order of a list counts."""
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def test_different_values_have_different_digests():
    """Values that look similar have different digests."""
    values = [1, 1.5, "1", None, "None", [], {}, [1], ["1"], {"1": 1}, True, "", ["a", "b"], ["ab"], ["a,b"]]
    assert len({digest(value) for value in values}) == len(values)


def test_digests_refuse_numbers_that_are_not_finite():
    """NaN and infinities raise, since JSON has no standard text for them."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            digest({"x": value})


def test_seeds_are_pinned_and_differ():
    """Seeds are the same on every machine, below 2**63, and depend on every part."""
    assert seed_for("order", 0, 1) == 5946387489172317919
    seeds = {seed_for(role, seed, epoch) for role in ("order", "flip") for seed in range(20) for epoch in range(20)}
    assert len(seeds) == 800
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_for("a", "bc") != seed_for("ab", "c")


def test_digests_do_not_depend_on_the_process():
    """Another process with another hash seed computes the same digest."""
    code = "from segsweep.config.digest import digest; print(digest({k: 1 for k in {'a', 'b', 'c', 'd'}}))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {digest(dict.fromkeys("dcba", 1))}
