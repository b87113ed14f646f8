"""What sources are worth in target images, and what axes matter, from the answer of drawn studies."""

from dataclasses import replace

import pytest
from drawn_study import Drawn

from segsweep.records import Records
from segsweep.report.answer.answer import answer_of
from segsweep.report.answer.worth import importance_of, worth_text, worths

SIZES = {"0.1": 100, "0.4": 400, "none": 1600}
COMPARE = {"source": ["random", "supervised:near"], "fraction": [0.1, 0.4, None], "freeze": ["none", "encoder"]}
GROWTH = {100: 0.3, 400: 0.5, 1600: 0.7}


@pytest.fixture(scope="module")
def records() -> Records:
    """A study whose near source is worth a doubling of the images."""
    drawn = Drawn(COMPARE, seeds=3, images=60, of_seed=0.003, of_image=0.02, rest=0.01)
    number = {cell: SIZES["none" if own["fraction"] is None else str(own["fraction"])] for cell, own in drawn.cells().items()}
    drawn.mean = {cell: GROWTH[number[cell]] + 0.1 * ("near" in cell) for cell in number}
    found = drawn.records()
    return replace(found, trials=found.trials.assign(train_images=found.trials["cell"].map(number)))


def test_a_source_is_worth_a_doubling_of_the_images(records: Records) -> None:
    """The set of every finite worth contains twice the images; with all images the upper end is open."""
    found = {worth.images: worth for worth in worths(records, answer_of(records))}
    assert list(found) == [100, 400, 1600]
    for images in (100, 400):
        saved = found[images].saved
        assert saved.low <= 2 * images <= saved.high
        assert saved.low > images
    assert found[1600].saved.high == float("inf")


def test_the_sentence_names_open_ends(records: Records) -> None:
    """With all images the worth is more than the largest number that was tried."""
    answer = answer_of(records)
    texts = [worth_text(answer, worth) for worth in worths(records, answer)]
    assert texts[0].startswith("With 100 images, near scores as random weights with ")
    assert texts[-1] == "With 1,600 images, near scores as random weights with more than 1,600 images [1,600, more than 1,600]."


def test_a_set_without_ends_has_no_estimate() -> None:
    """Where no number of images is excluded, the sentence names the tried numbers and no estimate among them."""
    drawn = Drawn({"source": ["random", "supervised:near"], "fraction": [0.1, 1.0]}, of_seed=0.05)
    found = drawn.records()
    sizes = found.trials["fraction"].map({0.1: 100, 1.0: 1000})
    records = replace(found, trials=found.trials.assign(train_images=sizes))
    answer = answer_of(records)
    open_ended = [worth for worth in worths(records, answer) if not worth.saved.says_something]
    assert open_ended
    for worth in open_ended:
        number = f"{worth.images:,.0f}"
        assert worth_text(answer, worth) == (
            f"With {number} images, near may score as random weights with any number of images that was tried, 100 to 1,000."
        )


def test_without_sizes_nothing_is_said() -> None:
    """A study of sources alone has no worth in images, but its axes have shares that add up to one."""
    study = Drawn(
        {"source": ["random", "supervised:near"], "freeze": ["none", "encoder"]}, {"source=supervised:near freeze=none": 0.7}
    )
    records = study.records()
    answer = answer_of(records)
    assert worths(records, answer) == []
    found = importance_of(answer)
    assert found is not None
    assert sum(effect.share for effect in found.effects) == pytest.approx(1)


def test_one_seed_has_no_shares() -> None:
    """Without an estimate of chance no share can be given."""
    assert importance_of(answer_of(Drawn({"source": ["random", "supervised:near"]}, seeds=1).records())) is None


def test_cells_without_a_common_seed_have_neither_worth_nor_shares() -> None:
    """If failures leave no seed that all cells have, or no axis varies, nothing is said, and nothing raises."""
    first, last = "source=random fraction=0.1", "source=supervised:near fraction=0.4"
    drawn = Drawn({"source": ["random", "supervised:near"], "fraction": [0.1, 0.4]}, missing=[(first, 1), (first, 2), (last, 3)])
    records = drawn.records()
    answer = answer_of(replace(records, trials=records.trials.assign(train_images=100)))
    assert answer.decides
    assert worths(records, answer) == []
    assert importance_of(answer) is None
    assert importance_of(answer_of(Drawn({"source": ["random"]}).records())) is None
