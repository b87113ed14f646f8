"""Two studies side by side."""

from dataclasses import replace
from typing import Any

import pytest
from drawn_study import Drawn
from recorded_study import recorded

from segsweep.records import Records
from segsweep.report.answer.questions import Verdict
from segsweep.report.answer.two_studies import compare_studies
from segsweep.report.answer.two_studies_text import average_sentence, two_studies_text

KEYS = ("trials", "counts", "images")


def run_again(records: Records, **counts: Any) -> Records:
    """Return records as those of another study, whose trials have other ids; `counts` replaces columns of counts."""
    tables = {name: records.table(name).assign(trial_id=records.table(name)["trial_id"] + "x") for name in KEYS}
    study = {**records.study, "name": "second"}
    return replace(records, **{**tables, "counts": tables["counts"].assign(**counts)}, study=study)


@pytest.fixture(scope="module")
def records() -> Records:
    """A drawn study of four cells with two seeds."""
    compare = {"source": ["random", "near"], "freeze": ["none", "encoder"]}
    drawn = recorded(Drawn(compare, {"source=near freeze=none": 0.6}, seeds=2, images=8))
    return replace(drawn, trials=drawn.trials.assign(target_data="key"))


@pytest.fixture(scope="module")
def higher(records: Records) -> Records:
    """The same study with all pixels right."""
    counts = records.counts
    return run_again(records, hit=counts["true"], predicted=counts["true"])


def test_the_difference_is_that_of_the_scores(records: Records, higher: Records) -> None:
    """Every cell is matched, and each difference is the second study's score minus the first's."""
    studies = compare_studies(records, higher)
    assert [pair.one.cell for pair in studies.pairs] == records.study["cells"]
    for pair in studies.pairs:
        assert pair.other.estimate == pytest.approx(1.0)
        assert pair.difference is not None
        assert pair.difference.estimate == pytest.approx(1.0 - pair.one.estimate, abs=1e-12)
    mean = sum(pair.difference.estimate for pair in studies.pairs if pair.difference) / len(studies.pairs)
    assert studies.average is not None
    assert studies.average.estimate == pytest.approx(mean)
    assert studies.average.verdict is Verdict.GAIN
    assert average_sentence(studies).startswith("B gains ")
    assert average_sentence(compare_studies(higher, records)).startswith("B loses ")


def test_a_family_holds_together(records: Records, higher: Records) -> None:
    """Intervals of single cells hold together, so they are wider than their own ones; the average is a family of its own."""
    studies = compare_studies(records, higher)
    assert all(pair.difference.half_together > pair.difference.half for pair in studies.pairs if pair.difference)
    assert studies.average is not None
    assert studies.average.half_together == studies.average.half


def test_other_test_data_give_no_verdict(records: Records, higher: Records) -> None:
    """With other images, other true pixels or another key of the target, scores stand side by side without a difference."""
    renamed = replace(higher, counts=higher.counts.assign(image="x" + higher.counts["image"]))
    redrawn = replace(higher, counts=higher.counts.assign(true=higher.counts["true"] + 1))
    rebuilt = replace(higher, trials=higher.trials.assign(target_data="other"))
    reasons = {"renamed": "different test images", "redrawn": "different test images", "rebuilt": "different target data"}
    for name, other in (("renamed", renamed), ("redrawn", redrawn), ("rebuilt", rebuilt)):
        studies = compare_studies(records, other)
        assert studies.average is None
        assert {pair.obstacle for pair in studies.pairs} == {reasons[name]}
        assert not any(pair.difference for pair in studies.pairs)
        text = two_studies_text(studies)
        assert f"No difference is computed: {reasons[name]}." in text
        assert not any(word in text for word in ("gain", "loss", "loses"))


def test_records_without_the_key_of_the_target_are_compared_by_images(records: Records, higher: Records) -> None:
    """Records of earlier versions have no key of the target; the same images with the same true pixels are comparable."""
    assert records.trials["target_data"].notna().all()
    earlier = replace(higher, trials=higher.trials.drop(columns="target_data"))
    assert compare_studies(records, earlier).average is not None


def test_the_same_runs_are_not_compared(records: Records) -> None:
    """A study beside itself has no differences, since both have the same runs."""
    studies = compare_studies(records, records)
    assert {pair.obstacle for pair in studies.pairs} == {"the same runs in both"}
    assert studies.average is None


def test_cells_are_matched_on_all_compared_axes(records: Records, higher: Records) -> None:
    """A cell whose setting on an axis of the other study differs has no match; an axis that one study fixes counts too."""
    trials = higher.trials.assign(freeze="encoder:1")
    study = {**higher.study, "compare": [{"source": grid["source"]} for grid in higher.study["compare"]]}
    assert compare_studies(records, replace(higher, trials=trials, study=study)).pairs == ()
    half = {**higher.study, "cells": higher.study["cells"][:2]}
    studies = compare_studies(records, replace(higher, study=half))
    assert [len(studies.pairs), len(studies.only_one), len(studies.only_other)] == [2, 2, 0]


def test_other_numbers_of_source_models_are_not_comparable(records: Records, higher: Records) -> None:
    """Seeds of one study are not paired with source models of another."""
    studies = compare_studies(records, replace(higher, study={**higher.study, "source_seeds": 2}))
    assert {pair.obstacle for pair in studies.pairs} == {"different numbers of source models"}


def test_the_text_fits_a_terminal(records: Records, higher: Records) -> None:
    """No line is longer than 80 columns; the set-up that differs, the cells and their verdicts are named."""
    other = replace(higher, trials=higher.trials.assign(epochs=9), study={**higher.study, "seeds": 5})
    text = two_studies_text(compare_studies(records, other), ("runs/" + "long" * 30, "runs/second"))
    assert max(map(len, text.splitlines())) <= 80
    assert "The set-up differs in epochs none (A), 9 (B); seeds 2 (A), 5 (B)." in text
    assert text.count(" gain") >= len(records.study["cells"])


@pytest.mark.parametrize(
    ("seeds", "ending"), [(1, "for these trained models, which says nothing on other seeds"), (2, "from so few seeds and cells")]
)
def test_too_few_seeds_are_not_called_these_models(seeds: int, ending: str) -> None:
    """With two seeds of one cell the interval covers other seeds, and is only too rough for a verdict."""
    records = Drawn({"source": ["random"]}, seeds=seeds).records()
    assert f"{ending}, in one matched cell" in average_sentence(compare_studies(records, run_again(records)))
