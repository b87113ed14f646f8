"""Studies with cross-validation: their plan, run, records and averages."""

from dataclasses import replace
from pathlib import Path

import pytest
from studies import nothing_built, plan_of, small_study
from text_lines import unwrapped

import segsweep
from segsweep.config import Study, Target
from segsweep.errors import UserError
from segsweep.records import load
from segsweep.report.cells import summarise
from segsweep.report.text import table_text
from segsweep.sweep.planner import Planner
from segsweep.sweep.simulated import Simulation

FOLDED = Target("pets", protocol="3-fold")


def test_a_confirmed_run_is_planned_per_fold_and_seed() -> None:
    """Each fold of each cell has its own tuning trials and confirmed runs, all under the cell's name."""
    plan = plan_of(small_study(target=FOLDED))
    assert len(plan.cells) == 3 * len(plan.names) == 12
    assert plan.confirmation_trials == 3 * 4 * 2
    assert plan.counted_cells == "4 cells on 3 folds each"
    assert len({cell.key for cell in plan.cells}) == 12
    assert len({trial.trial_id for cell in plan.cells for trial in cell.tuning}) == 12 * 4


def test_each_fold_is_tuned_separately() -> None:
    """A fold's setting is chosen on its own validation images; folds that choose differently confirm different settings."""
    planner = Planner(plan_of(small_study(target=FOLDED, compare={"source": ["random"], "freeze": ["none"]})), nothing_built)
    rates = [trial.settings.learning_rate for trial in planner.plan.cells[0].tuning]
    best = dict(zip((1, 2, 3), rates, strict=False))
    Simulation(planner, lambda trial, _: 0.9 if trial.settings.learning_rate == best[trial.settings.fold] else 0.1).run()
    chosen = {key: choice.settings.learning_rate for key, choice in planner.choices.items()}
    assert chosen == {f"source=random freeze=none fold={fold}": rate for fold, rate in best.items()}


def test_one_fold_can_be_run_alone() -> None:
    """A fixed fold runs only that fold; a fold that the protocol lacks is rejected when the study is built."""
    alone = plan_of(small_study(target=FOLDED, fixed={"epochs": 4, "precision": "float32", "fold": 2}))
    assert {cell.settings.fold for cell in alone.cells} == {2}
    assert len(alone.cells) == 4
    with pytest.raises(UserError, match="fold=4: protocol '3-fold' has the folds 1 to 3"):
        small_study(target=FOLDED, fixed={"fold": 4})
    with pytest.raises(UserError, match="fold=1: protocol '60-20-20' has no folds"):
        small_study(fixed={"fold": 1})


def test_studies_without_folds_keep_their_ids() -> None:
    """Without folds, a cell's key is its name, and no trial has a fold."""
    plan = plan_of(small_study())
    assert all(cell.key == cell.name for cell in plan.cells)
    assert {trial.settings.fold for cell in plan.cells for trial in cell.tuning} == {None}


def three_folds(study: Study) -> Study:
    """Return one cell of a study, without a source, on three folds."""
    target = replace(study.target, protocol="3-fold")
    return replace(study, name="folded", target=target, compare={"freeze": ["none"]}, seeds=2)


@pytest.fixture(scope="module")
def folded(tiny_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny study's first cell, which was run on three folds."""
    folder = tmp_path_factory.mktemp("folded")
    study = three_folds(tiny_study)
    segsweep.run(study, out=folder / "runs", runner="inline", device="cpu", threads=1)
    return folder / "runs" / "folded"


def test_every_image_is_tested_once_with_every_seed(folded: Path) -> None:
    """The records have the fold of every run, and over all folds each image of the dataset has one score per seed."""
    records = load(folded)
    confirmed = records.trials[records.trials["phase"] == "confirm"]
    assert (confirmed["status"] == "finished").all()
    assert confirmed.groupby("cell")["fold"].agg(sorted).map(lambda folds: folds == [1, 1, 2, 2, 3, 3]).all()
    scores = records.images.groupby(["cell", "seed", "image"]).size()
    assert (scores == 1).all()
    sizes = records.images.groupby(["cell", "seed"])["image"].nunique()
    assert sizes.nunique() == 1
    assert sizes.iloc[0] == int(confirmed.drop_duplicates("fold")["test_images"].sum())


def test_the_table_averages_over_folds(folded: Path) -> None:
    """A cell has one row: the mean and the spread over all six runs, and a sentence explains them."""
    records = load(folded)
    summary = summarise(records)
    confirmed = records.trials[records.trials["phase"] == "confirm"]
    for _, row in summary.iterrows():
        runs = confirmed[confirmed["cell"] == row["cell"]]
        assert (row["seeds"], row["seeds_planned"]) == (6, 6)
        assert row["test_iou"] == pytest.approx(runs["test_iou"].mean())
        assert row["test_iou_std"] == pytest.approx(runs["test_iou"].std(ddof=1))
    text = unwrapped(table_text(records))
    assert "Cross-validation, 3 folds: every image of the pool is tested once with every seed." in text
    assert "6/6" in text


def test_a_second_start_repeats_nothing(folded: Path, tiny_study: Study) -> None:
    """All folds are found finished when the same study starts again."""
    before = load(folded).trials.set_index("trial_id")["started_at"]
    study = three_folds(tiny_study)
    again = segsweep.run(study, out=folded.parent, runner="inline", device="cpu", threads=1).trials.set_index("trial_id")
    assert again["started_at"].to_dict() == before.to_dict()
    assert again["planned"].all()


def test_an_average_over_different_images_is_reported(folded: Path) -> None:
    """If a run of a fold is missing, or a study has one fold, the table does not state that every image is tested."""
    records = load(folded)
    lost = (records.trials["phase"] == "confirm") & (records.trials["fold"] == 2) & (records.trials["seed"] == 1)
    failed = replace(records, trials=records.trials.assign(status=records.trials["status"].mask(lost, "failed")))
    assert "not all runs of all folds have finished" in table_text(failed)
    alone = replace(records, trials=records.trials[records.trials["fold"] == 2])
    assert "only 1 of 3 folds are part of this study" in table_text(alone)


def test_the_mean_is_over_folds_and_not_over_runs(folded: Path) -> None:
    """A fold that lost a run weighs as much as the others."""
    records = load(folded)
    lost = (records.trials["phase"] == "confirm") & (records.trials["fold"] == 2) & (records.trials["seed"] == 1)
    failed = replace(records, trials=records.trials.assign(status=records.trials["status"].mask(lost, "failed")))
    kept = failed.trials[(failed.trials["phase"] == "confirm") & (failed.trials["status"] == "finished")]
    expected = kept.groupby("fold")["test_iou"].mean().mean()
    assert summarise(failed)["test_iou"].iloc[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": Target("pets", protocol="5x2-Fold")}, "must be written '5-fold'"),
        ({"target": Target("pets", protocol="05-fold")}, "must be written '5-fold'"),
        ({"target": FOLDED, "fixed": {"fold": "2"}}, "fold='2': protocol '3-fold' has the folds 1 to 3, whole numbers"),
        ({"target": FOLDED, "fixed": {"dev_share": 0.5}}, "has no dev_share"),
    ],
)
def test_wrong_folds_are_rejected_with_the_study(changes: dict[str, object], message: str) -> None:
    """A misspelt protocol, an invalid fold and a development share are errors when the study is built."""
    with pytest.raises(UserError, match=message):
        small_study(**changes)
