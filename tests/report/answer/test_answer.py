"""The answer of drawn studies: scores, questions, the best set, and sentences that claim no more than the intervals."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn_study import Drawn

from segsweep.records import Records
from segsweep.report.answer.answer import Limits, answer_from, answer_of
from segsweep.report.answer.questions import Verdict, verdict
from segsweep.report.answer.scores import study_scores
from segsweep.report.answer.sentences import question_sentence, sentences
from segsweep.report.answer.words import difference_text
from segsweep.report.cells import summarise
from segsweep.report.text import table_text

FORBIDDEN = ("significant", "at no loss", "proves")  # words that claim more than an interval supports
SOURCES = {"source": ["random", "supervised:near", "supervised:far"], "freeze": ["none", "encoder"]}


def test_scores_of_a_cell_average_to_the_pooled_measure() -> None:
    """The estimate of every cell is the mean over seeds of hits over union, summed over all images."""
    records = Drawn(SOURCES, seeds=2).records()
    sums = records.counts.groupby(["cell", "seed"])[["hit", "true", "predicted"]].sum()
    pooled = (sums["hit"] / (sums["true"] + sums["predicted"] - sums["hit"])).groupby("cell").mean()
    for cell in answer_of(records).cells:
        assert cell.estimate == pytest.approx(pooled[cell.cell], rel=1e-12)


def test_a_lost_seed_leaves_other_cells_alone() -> None:
    """A contrast uses the seeds that its cells share; one without the damaged cell keeps all seeds."""
    cell = "source=supervised:far freeze=none"
    answer = answer_of(Drawn(SOURCES, missing={(cell, 2)}).records())
    source = answer.questions[0]
    near, far = source.differences
    assert (near.units, far.units) == ((1, 2, 3), (1, 3))
    assert answer.cell(cell).units == (1, 3)
    assert "1 cell has fewer than 3 finished seeds" in sentences(answer)[-1]
    assert "1 confirmed run failed or was skipped" in sentences(answer)[-1]


def test_a_cell_with_one_seed_among_others_with_more_has_no_interval() -> None:
    """Its interval would cover images alone, and be the narrowest of a table whose intervals cover seeds."""
    cell = "source=supervised:far freeze=none"
    answer = answer_of(Drawn(SOURCES, {cell: 0.8}, missing={(cell, 1), (cell, 2)}).records())
    assert [each.cell for each in answer.cells if not each.has_interval] == [cell]
    assert "IoU 80.5 (without an interval) on 40 test images with 1 seed." in sentences(answer)[0]
    assert "nan" not in table_text(Drawn(SOURCES, missing={(cell, 1), (cell, 2)}).records())


def test_a_cell_without_runs_leaves_only_its_pairs_out() -> None:
    """The average is over the pairs that have runs, and the sentence states how many."""
    cell = "source=supervised:far freeze=none"
    answer = answer_of(Drawn(SOURCES, missing={(cell, seed) for seed in (1, 2, 3)}).records())
    far = answer.questions[0].differences[1]
    assert (far.pairs, far.pairs_planned) == (1, 2)
    assert "(3 of 4 pairs of cells)" in sentences(answer)[1]


def test_numbers_of_seeds_are_those_of_the_cells() -> None:
    """Failures that leave no seed to all cells do not make their number 0, and a cell is not said to have fewer than it has."""
    cells = list(Drawn(SOURCES).cells())
    answer = answer_of(Drawn(SOURCES, missing={(cells[0], 1), (cells[0], 2), (cells[1], 3)}).records())
    text = " ".join(sentences(answer))
    assert "The 95 % intervals cover the choice of seeds (1 to 3 per cell) and of test images" in text
    assert not re.search(r"\b0 seeds", text)
    chosen = answer.cell(answer.chosen or "")
    assert f"on 40 test images with {len(chosen.units)} seed" in text


def test_one_source_model_of_several_seeds_is_named_as_such() -> None:
    """With one of two source models, the intervals leave out other source models, not seeds."""
    cells = Drawn(SOURCES).cells()
    drawn = Drawn(SOURCES, seeds=4, source_seeds=2, missing={(cell, seed) for cell in cells for seed in (2, 4)})
    first, *_, last = sentences(answer_of(drawn.records()))
    assert first.endswith("with 1 source model; one source model per cell says nothing on other source models.")
    assert last.startswith("One source model: the 95 % intervals cover other test images with the same trained models; they")
    assert "leave out other source models" in last


@pytest.mark.parametrize("complete", [1, 3, 5])
def test_only_complete_folds_count(complete: int) -> None:
    """The sentences name the folds that all cells have, not those of the declaration."""
    drawn = Drawn(SOURCES, seeds=2, study={"target": {"name": "folder:x", "protocol": "5-fold"}})
    text = " ".join(sentences(answer_of(in_folds(drawn.records(), 5, complete))))
    assert ("over 3 folds" in text) == (complete == 3)
    assert ("on each of 5 folds" in text) == (complete == 5)
    assert (
        re.findall(r"only .* runs of all cells", text)
        == {
            1: ["only 1 of 5 folds has runs of all cells"],
            3: ["only 3 of 5 folds have runs of all cells"],
            5: [],
        }[complete]
    )


def in_folds(records: Records, folds: int, complete: int) -> Records:
    """Return records whose runs are repeated in folds with a part of the images each; the first cell has only some folds."""
    first = records.study["cells"][0]
    trials, counts = [], []
    for fold in range(1, folds + 1):
        kept = records.trials[(records.trials["cell"] != first) | (fold <= complete)]
        trials.append(kept.assign(fold=fold, trial_id=kept["trial_id"] + f" {fold}"))
        part = records.counts[records.counts["image"].astype(int) % folds == fold - 1]
        counts.append(part.assign(trial_id=part["trial_id"] + f" {fold}"))
    folded = pd.concat(trials, ignore_index=True).astype({"fold": "Int64"})
    return replace(records, trials=folded, counts=pd.concat(counts, ignore_index=True))


def test_runs_of_one_source_model_are_one_unit() -> None:
    """With two models per source, six seeds are two units: the average of the three runs of each model."""
    records = Drawn(SOURCES, seeds=6, source_seeds=2).records()
    scores = study_scores(records)
    assert scores.models
    assert {len(units) for units in scores.by_cell.values()} == {2}
    cell = "source=random freeze=none"
    means = records.trials[records.trials["cell"] == cell].groupby("source_seed")["test_iou"].mean()
    found = [scores.by_cell[cell][unit][0].mean() for unit in (0, 1)]
    assert found == pytest.approx(means.tolist(), abs=0.001)


def test_large_differences_are_found_and_their_dependence_too() -> None:
    """A source that gains only with nothing frozen is a gain there, and the answer states that it depends on freezing."""
    mean = {"source=supervised:near freeze=none": 0.7}
    question = answer_of(Drawn(SOURCES, mean).records()).questions[0]
    near, far = question.differences
    assert near.verdict is Verdict.GAIN
    assert near.estimate == pytest.approx(0.1, abs=0.03)
    assert far.verdict is not Verdict.GAIN
    assert [dependence.sure for dependence in question.dependences] == [True]
    unfrozen, frozen = question.dependences[0].strata
    assert unfrozen.differences[0].verdict is Verdict.GAIN
    assert frozen.differences[0].verdict is not Verdict.GAIN


def test_the_best_cell_is_named_alone_where_it_beats_all() -> None:
    """The set of best cells has one member, and every other cell names it as the one that beats it."""
    best = "source=supervised:near freeze=none"
    answer = answer_of(Drawn(SOURCES, {best: 0.7}).records())
    assert [cell.cell for cell in answer.best] == [best]
    assert {cell.beaten_by for cell in answer.cells if cell.cell != best} == {best}
    assert re.match(r"near, nothing frozen is best: .* each of the other 5 cells scores lower\.", sentences(answer)[0].lower())


def test_equal_cells_are_equal_within_what_matters() -> None:
    """Cells that differ by less than one point, with enough seeds and images, make no difference that matters."""
    answer = answer_of(Drawn(SOURCES, seeds=5, images=200, of_seed=0.001, of_image=0.005, rest=0.005).records())
    assert {each.verdict for each in answer.questions[0].differences} == {Verdict.EQUAL}
    assert "make no difference of 1 point or more" in sentences(answer)[1]
    assert {each.verdict for each in answer_of(Drawn(SOURCES).records(), matters=0.5).questions[0].differences} == {Verdict.EQUAL}


def test_one_seed_has_no_verdict() -> None:
    """The sentences name no best cell, no gain and no loss, and say that the intervals leave out seeds."""
    answer = answer_of(Drawn(SOURCES, {"source=supervised:near freeze=none": 0.8}, seeds=1).records())
    text = " ".join(sentences(answer))
    assert not re.search(r"\b(best|better|gains|loses|undecided|no difference)\b", text)
    assert "One seed:" in text
    assert re.search(
        r"the sign for near would hold for new seeds only if the difference's standard deviation over seeds is", text
    )
    assert {each.verdict for each in answer.questions[0].differences} == {Verdict.NONE}


def test_one_seed_calls_only_signs_open_that_are() -> None:
    """With one seed, an open sign of the first level says nothing on a later one whose interval over images leaves out zero."""
    sources = {"source": ["random", "supervised:near", "supervised:far"]}
    assert (
        "the sign for far would hold"
        in sentences(answer_of(Drawn(sources, {"source=supervised:far": 0.7}, seeds=1).records()))[1]
    )
    equal = sentences(answer_of(Drawn(sources, seeds=1, rest=0.2).records()))[1]
    assert equal.endswith("even for these models all signs are open.")


def test_levels_without_a_pair_are_named() -> None:
    """A source whose runs all failed is not passed over in silence, and the best cell is compared with finished cells alone."""
    lost = {(cell, seed) for cell in Drawn(SOURCES).cells() if "far" in cell for seed in (1, 2, 3)}
    first, second, _ = sentences(answer_of(Drawn(SOURCES, {"source=supervised:near freeze=none": 0.7}, missing=lost).records()))
    assert "each of the other 3 cells with finished runs scores lower" in first
    assert "far has no matched pair of cells with scores" in second


def test_the_largest_differences_are_named() -> None:
    """Of many levels the three with the largest differences are named; a dependence shows one level, that which varies most."""
    names = [f"supervised:s{number}" for number in range(5)]
    mean = {f"source={name}": 0.6 + 0.05 * number for number, name in enumerate(names)}
    text = sentences(answer_of(Drawn({"source": ["random", *names]}, mean).records()))[1]
    assert re.search(r"random weights, s4 gains .*, s3 gains .*, s2 gains .* and 2 more gain\.", text)
    mean = {"source=supervised:near freeze=none": 0.7, "source=supervised:far freeze=none": 0.55} | {
        "source=supervised:far freeze=encoder": 0.6
    }
    text = sentences(answer_of(Drawn(SOURCES, mean).records()))[1]
    assert re.search(r"\(with nothing frozen, near gains .*; with encoder frozen, near is undecided, between .*\)", text)


def test_sources_are_compared_at_an_equal_transfer_where_no_cell_is_random() -> None:
    """Without random weights, cells of two sources are matched at the same transfer, over whose levels they are averages."""
    compare = {"source": ["supervised:near", "supervised:far"], "transfer": ["encoder", "all"]}
    answer = answer_of(Drawn(compare, {"source=supervised:near transfer=all": 0.6}).records())
    (far,) = answer.questions[0].differences
    assert (far.pairs, far.pairs_planned) == (2, 2)
    assert sentences(answer)[1].startswith("Against near, averaged over transfer, far loses ")


def test_a_union_of_grids_claims_no_average_that_it_lacks() -> None:
    """Sources compared at one fraction alone are not averages over fractions; the grid in which they are shows dependences."""
    drawn = Drawn({"source": ["random", "supervised:near"], "freeze": ["none", "encoder"], "fraction": [1.0, 0.1]})
    drawn.mean = {"source=supervised:near freeze=none fraction=1.0": 0.8}
    records, cells = drawn.records(), drawn.cells()
    kept = [name for name, own in cells.items() if own["fraction"] == 1.0 or own == {**own, "source": "random", "freeze": "none"}]
    trials, counts = (table[table["cell"].isin(kept)] for table in (records.trials, records.counts))
    answer = answer_of(replace(records, trials=trials, counts=counts, study={**records.study, "cells": kept}))
    source, _, fraction = answer.questions
    assert (source.over, source.held) == (("freeze",), {"fraction": "1"})
    text = question_sentence(answer, source)
    assert text.startswith("Against random weights with all training images, averaged over freeze, near gains ")
    assert "; but it depends on freeze (with nothing frozen it gains" in text
    assert "with random weights and nothing frozen, fraction 0.1 " in question_sentence(answer, fraction)


def test_random_weights_have_no_transfer() -> None:
    """The one cell of random weights is the partner of every transfer, and its label names none."""
    compare = {"source": ["random", "supervised:near"], "transfer": ["encoder", "all", "none"]}
    drawn = Drawn(compare)
    records = drawn.records()
    kept = [cell for cell, own in drawn.cells().items() if (own["source"] == "random") == (own["transfer"] == "none")]
    trials, counts = (table[table["cell"].isin(kept)] for table in (records.trials, records.counts))
    answer = answer_of(replace(records, trials=trials, counts=counts, study={**records.study, "cells": kept}))
    assert [cell.label for cell in answer.cells] == ["random weights", "near, transfer encoder", "near, transfer all"]
    near = answer.questions[0]
    assert (near.over, near.differences[0].pairs) == (("transfer",), 2)
    assert "no matched pair" not in question_sentence(answer, answer.questions[1])


def test_an_unknown_measure_is_refused() -> None:
    """The error names the measures that the records have, with the IoU of each class."""
    records = Drawn(SOURCES).records()
    for measure in ("miou", "iou_cat"):
        with pytest.raises(ValueError, match=f"measure '{measure}': unknown; use one of iou, .*, boundary_f, iou_figure"):
            answer_of(records, measure)


def test_cells_that_may_be_as_good_are_listed_from_the_highest() -> None:
    """Of the cells that may be as good as the chosen one, those with the highest scores are named."""
    mean = {f"source=supervised:s{number}": 0.5 + 0.001 * number for number in range(6)}
    drawn = Drawn({"source": ["random", *(f"supervised:s{number}" for number in range(6))]}, {**mean, "source=random": 0.3})
    drawn.of_seed = drawn.rest = drawn.of_image = 0.005
    text = sentences(answer_of(drawn.records()))[0]
    estimates = {cell.label: cell.estimate for cell in answer_of(drawn.records()).cells}
    named = re.findall(r"\bs\d\b", text.partition("may be as good or better:")[2])
    assert len(named) == 3
    assert [estimates[name] for name in named] == sorted((estimates[name] for name in named), reverse=True)


def test_the_interval_of_a_loss_does_not_show_zero() -> None:
    """A loss whose interval ends at 0.03 points has two decimals, since `[0.0, 6.3]` would seem to contain zero."""
    loss = answer_of(Drawn(SOURCES).records()).questions[0].differences[0]
    assert difference_text(replace(loss, estimate=-0.0317, half_together=0.0314)) == "3.17 points [0.03, 6.31]"
    assert difference_text(replace(loss, estimate=-0.0317, half_together=0.0214)) == "3.2 points [1.0, 5.3]"


def test_rounding_is_no_difference() -> None:
    """An estimate that differs from zero by rounding alone is no gain, also where no chance is observed."""
    assert verdict(1e-17, 0.0, 0.01) is Verdict.EQUAL
    assert verdict(-1e-17, 0.0, 0.0) is Verdict.EQUAL


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_test_image_has_no_verdict(seeds: int) -> None:
    """One image says nothing on others: no verdict, no interval that seems to cover images, and the limit is stated."""
    records = Drawn(SOURCES, {"source=supervised:near freeze=none": 0.8}, seeds=seeds, images=1).records()
    answer = answer_of(records)
    text = " ".join(sentences(answer))
    assert not re.search(r"\b(best|better|gains|loses|undecided|no difference|nan)\b", text)
    assert "one test image says nothing on other images" in text
    assert "leave out other test images" in text
    assert {cell.has_interval for cell in answer.cells} == {seeds > 1}
    assert ("over seeds, not test images" in table_text(records).replace("\n", " ")) == (seeds > 1)


def test_two_seeds_of_three_cells_have_no_verdict() -> None:
    """Below four cells, two seeds determine no variance."""
    answer = answer_of(Drawn({"source": ["random", "supervised:near", "supervised:far"]}, seeds=2).records())
    assert not answer.decides
    assert {each.verdict for each in answer.questions[0].differences} == {Verdict.NONE}
    text = " ".join(sentences(answer))
    assert not re.search(r"\b(is best|better|gains|loses)\b", text)
    assert "these trained models" not in text  # the intervals cover other seeds


def test_records_without_counts_have_an_answer_that_says_nothing() -> None:
    """Records of earlier versions and studies that have just started give one plain sentence."""
    records = Drawn(SOURCES, missing={(cell, seed) for cell in Drawn(SOURCES).cells() for seed in (1, 2, 3)}).records()
    answer = answer_of(records)
    assert sentences(answer) == ["No confirmed run has finished, so nothing can be said."]
    assert not answer.questions
    assert len(summarise(records)) == len(answer.cells) == 6
    finished = Drawn(SOURCES).records()
    assert sentences(answer_of(replace(finished, counts=finished.counts[:0]))) == [
        "18 finished confirmed runs have no counts per image, as in records before schema 2, so no interval can be given."
    ]


@pytest.mark.parametrize("damage", ["no figure in any image", "no image in common", "no fold in common"])
def test_records_without_a_comparable_score_have_no_cell_with_scores(damage: str) -> None:
    """A class that no test image shows, runs on different images, or cells on different folds give no number at all."""
    records = Drawn({"source": ["random", "supervised:near"]}, seeds=1).records()
    trials, counts = records.trials.copy(), records.counts.copy()
    if damage == "no figure in any image":
        counts = counts.assign(**{"class": "ground"})
    if damage == "no image in common":
        counts["image"] = counts["cell"] + counts["image"]
    if damage == "no fold in common":
        trials["fold"] = pd.array([1, 2], dtype="Int64")
    answer = answer_of(replace(records, trials=trials, counts=counts))
    assert (answer.confirmed, answer.questions, len(answer.sentences)) == ((), (), 1)


@pytest.mark.parametrize("block", range(4))
def test_no_sentence_claims_more_than_its_simultaneous_interval(block: int) -> None:
    """In 1,000 drawn studies, every gain or loss in words lies on its side of zero with its whole interval."""
    rng = np.random.default_rng(block)
    for number in range(250):
        drawn = draw_study(rng, 1000 * block + number)
        limits = Limits(1, 0, 0, 0, False, drawn.images < 20)
        answer = answer_from(drawn.design(), drawn.scores(), drawn.seeds, limits)
        text = " ".join(sentences(answer))
        assert not any(word in text for word in FORBIDDEN)
        assert answer.decides or not re.search(r"\b(is best|best|gains|loses)\b", text)
        for question in answer.questions:
            said = question_sentence(answer, question).split("; but it depends")[0].split(", and so in each")[0]
            for each in question.differences:
                name = answer.level(question.axis, each.name)
                gains, loses = (bool(re.search(rf"\b{name} {verb} ", said)) for verb in ("gains", "loses"))
                assert (gains, loses) == (answer.decides and each.interval[0] > 0, answer.decides and each.interval[1] < 0)


def draw_study(rng: np.random.Generator, number: int) -> Drawn:
    """Return a study with two to four sources, one to four seeds, and few or many images, with small or large differences."""
    sources = ["random", "supervised:a", "supervised:b", "supervised:c"][: rng.integers(2, 5)]
    compare = {"source": sources, "freeze": ["none", "encoder"]} if rng.random() < 0.6 else {"source": sources}
    drawn = Drawn(compare, seeds=int(rng.integers(1, 5)), images=int(rng.integers(5, 40)), random_state=number)
    drawn.mean = {cell: 0.5 + rng.normal(0, rng.choice([0, 0.01, 0.05])) for cell in drawn.cells()}
    drawn.of_seed = float(rng.choice([0.001, 0.01, 0.03]))
    return drawn
