"""Paired comparison of cells, by seed and image, with an interval."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from segsweep.records import load
from segsweep.report.paired import bootstrap_interval, difference_text, paired_differences, reference_cells


def test_every_cell_finds_its_partner(finished: Path) -> None:
    """The reference itself has no partner, and all other axes are equal."""
    records = load(finished / "runs" / "tiny")
    random, *_, trained = records.trials["source"].sort_values().unique()
    partners = reference_cells(records, {"source": random})
    assert partners == {f"source={trained} freeze={policy}": f"source={random} freeze={policy}" for policy in ("none", "encoder")}
    assert len(reference_cells(records, {"source": random, "freeze": "none"})) == 3
    assert reference_cells(records, {"freeze": "none"}) == {
        f"source={source} freeze=encoder": f"source={source} freeze=none" for source in (random, trained)
    }
    assert reference_cells(records, {"source": "imagenet"}) == {}


def planned(records, rows):
    """Records of a study that compares all axes in which these cells differ; the cell's name is its number."""
    cells = pd.DataFrame(rows).rename_axis("cell").reset_index()
    axes = {name: list(cells[name].unique()) for name in cells if name != "cell"}
    return replace(records, trials=cells, study={**records.study, "compare": [axes]})


def test_partners_with_different_sources_may_differ_in_its_axes(finished: Path) -> None:
    """Random weights have no transfer and no temperature of a self-supervised stage; all other axes must be equal."""
    records = load(finished / "runs" / "tiny")
    random = {"source": "random", "transfer": "none", "ssl_temperature": 0.1}
    city = {"source": "city", "transfer": "all", "ssl_temperature": 0.5}
    cells = [{**source, "ema": ema} for source in (random, city, {**city, "transfer": "encoder"}) for ema in (None, 0.9)]
    assert reference_cells(planned(records, cells), {"source": "random"}) == {"2": "0", "3": "1", "4": "0", "5": "1"}
    assert reference_cells(planned(records, cells), {"transfer": "all"}) == {"4": "2", "5": "3"}
    assert reference_cells(planned(records, cells), {"ema": None}) == {"1": "0", "3": "2", "5": "4"}


def test_a_cell_with_several_partners_has_none(finished: Path) -> None:
    """It is ambiguous which of two equal partners is meant."""
    records = load(finished / "runs" / "tiny")
    cells = [{"source": "random", "transfer": "none"}, {"source": "a", "transfer": "all"}, {"source": "a", "transfer": "encoder"}]
    assert reference_cells(planned(records, cells), {"source": "a"}) == {}


def test_the_difference_is_that_of_the_means_over_seeds_and_images(finished: Path) -> None:
    """As every image is scored by every run, the mean of the differences is the difference of the means."""
    records = load(finished / "runs" / "tiny")
    cells = records.study["cells"]
    table = paired_differences(records, {cells[1]: cells[0], cells[2]: "no such cell"})
    scores = records.images.merge(records.trials[["trial_id", "cell"]], on="trial_id", suffixes=("_then", ""))
    means = scores.groupby("cell")["iou"].mean()
    (row,) = table.to_dict("records")
    assert (row["cell"], row["reference"]) == (cells[1], cells[0])
    assert row["difference"] == pytest.approx(means[cells[1]] - means[cells[0]])
    assert (row["images"], row["seeds"]) == (records.images["image"].nunique(), 2)
    assert row["low"] <= row["difference"] <= row["high"]


def test_without_scores_there_are_no_differences(finished: Path) -> None:
    """The table then has its columns and no row."""
    records = load(finished / "runs" / "tiny")
    cells = records.study["cells"]
    table = paired_differences(replace(records, images=records.images.iloc[:0]), {cells[1]: cells[0]})
    assert table.empty
    assert list(table.columns) == ["cell", "reference", "difference", "low", "high", "images", "seeds"]


def test_with_one_seed_the_interval_is_the_bootstrap_over_images() -> None:
    """SciPy's percentile interval of the mean is equal up to the randomness of the resampling."""
    each = np.random.default_rng(1).normal(0.1, 0.3, 200)
    theirs = bootstrap((each,), np.mean, method="percentile", n_resamples=5000, rng=np.random.default_rng(2)).confidence_interval
    assert bootstrap_interval(each[None]) == pytest.approx(tuple(theirs), abs=0.006)


def test_seeds_that_disagree_widen_the_interval() -> None:
    """With two seeds, one for and one against, the sign stays undecided however many images there are."""
    noise = np.random.default_rng(1).normal(0, 0.01, 500)
    low, high = bootstrap_interval(np.stack([noise + 0.2, noise - 0.2]))
    assert low < -0.15
    assert high > 0.15


def test_missing_scores_are_ignored() -> None:
    """An image without a score of one seed counts with the other's."""
    each = np.full((2, 30), 0.25)
    each[0, ::2] = np.nan
    assert bootstrap_interval(each) == pytest.approx((0.25, 0.25))


def test_runs_that_are_no_longer_planned_are_not_compared(finished: Path) -> None:
    """Only the study as last declared counts."""
    records = load(finished / "runs" / "tiny")
    cells = records.study["cells"]
    trials = records.trials[records.trials["cell"] != cells[0]]
    assert paired_differences(replace(records, trials=trials), {cells[1]: cells[0]}).empty


def test_the_sentence_counts_certain_signs_and_warns_of_few_seeds() -> None:
    """An interval that includes zero counts on neither side; differing numbers of images and seeds are given as a range."""
    table = pd.DataFrame({"low": [0.1, -0.2, -0.3], "high": [0.2, 0.1, -0.1], "images": 9})
    several = "Of 3 differences, 1 lie above zero and 1 below it with their whole interval (9 test images, 5 seeds)."
    chance = " Of many 95 % intervals about 1 in 20 excludes zero by chance alone."
    assert difference_text(table.assign(seeds=5)) == several + chance
    assert difference_text(table.assign(seeds=3)).endswith("too narrow.")
    assert "another seed may reverse a sign" in difference_text(table.assign(seeds=1))
    assert "(7 to 9 test images, 1 to 3 seeds)" in difference_text(table.assign(images=[7, 9, 8], seeds=[3, 1, 2]))
    assert difference_text(table.assign(seeds=1).iloc[:1]).startswith("Of 1 difference, 1 lie above")
    assert difference_text(table.assign(seeds=2).iloc[:0]) == ""
