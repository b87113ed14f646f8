"""Which rows belong to a study: those of its present declaration, by one rule everywhere."""

import pandas as pd
import pytest

from segsweep.errors import UserError
from segsweep.records import load, sql
from segsweep.records.find import find_study
from segsweep.records.query import with_all_rows
from segsweep.records.schema import TABLES, identity_column
from segsweep.report.cells import confirmed_runs

OF_TEST = {
    "images": [{"image": "i", "iou": 0.5}],
    "counts": [{"image": "i", "class": "pet", "hit": 1, "true": 2, "predicted": 3}],
    "confusions": [{"truth": "pet", "predicted": "pet", "pixels": 1}],
}


@pytest.fixture
def changed(tmp_path, begin, start_columns, epoch_row):
    """A study whose source was changed from a chain of two stages: its present tables, and the abandoned ones."""
    folder = tmp_path / "runs" / "s"
    writer = begin(folder)
    for name, stages, test_iou in (("old", ("g1", "g2"), 0.272), ("new", ("h1", "h2"), 0.028)):
        for stage, parent in zip(stages, (None, stages[0]), strict=True):
            writer.start("stages", stage, {"study": "s", "stage_id": stage, "parent_stage_id": parent})
            writer.epoch(stage, epoch_row(1))
            writer.end(stage, "finished", {})
        for phase in ("tune", "confirm"):
            columns = start_columns(f"{name} {phase}", phase=phase, cell="c", stage_id=stages[1], source="coco")
            writer.start("trials", f"{name} {phase}", columns)
            writer.epoch(f"{name} {phase}", epoch_row(1))
            writer.end(f"{name} {phase}", "finished", {"test_iou": test_iou}, OF_TEST if phase == "confirm" else {})
        shared = {"cell": "c", "seed": 1, "status": "not_run", "stage_id": stages[1]}
        writer.start("scores", f"{name} score", {"study": "s", "score_id": f"{name} score", "stage_id": stages[1]})
        writer.end(f"{name} score", "finished", {"logme": -0.5})
        rows = [{**shared, "trial_id": f"{name} tune", "phase": "tune"}]
        writer._choices_are_old = True  # each start computes them again
        writer.plan([*rows, {**shared, "trial_id": "later-undecided", "phase": "confirm"}], stages, [f"{name} score"])
        writer.choose("c", {"chosen": f"{name} tune", "confirm": [f"{name} confirm"], "at_edge": []})
    yield folder
    writer.__exit__(None, None, None)


def test_abandoned_runs_are_not_averaged_in(changed):
    """Abandoned runs of a changed study count in no table, query or answer unless requested."""
    records = load(changed)
    question = "select avg(test_iou) from {} where phase = 'confirm'"
    assert records.sql(question.format("trials")).iloc[0, 0] == pytest.approx(0.028)
    assert records.sql(question.format("all_trials")).iloc[0, 0] == pytest.approx(0.150)
    assert sql(question.format("trials") + " and planned", changed).iloc[0, 0] == pytest.approx(0.028)  # earlier form
    assert confirmed_runs(records)["trial_id"].tolist() == ["new confirm"]


@pytest.mark.parametrize("table", TABLES)
def test_every_table_follows_the_one_rule(changed, table):
    """Each table has the rows of planned trials and scores, and of the stages they need, in order; its `all_` table has every
    row."""
    records = load(changed)
    asked, everything = getattr(records, table), getattr(records, with_all_rows(table))
    column = everything[identity_column(table)]
    mine = column.str.startswith(("new", "h"))
    assert mine.sum() * 2 == len(everything) > 0
    pd.testing.assert_frame_equal(asked, everything[mine].reset_index(drop=True))
    for name, data in ((table, asked), (with_all_rows(table), everything)):
        assert (
            sql(f"select {identity_column(table)} from {name}", changed).iloc[:, 0].tolist()
            == data[identity_column(table)].tolist()
        )


def test_a_plan_of_an_earlier_version_names_no_stages(changed):
    """If a plan lists only trials, their stages are those the trials start from, with all stages before."""
    (changed / "plan.parquet").unlink()
    with (changed / "index.jsonl").open("w"):
        pass
    pd.DataFrame({"trial_id": ["new tune"], "cell": ["c"], "phase": ["tune"], "seed": [1], "stage_id": ["h2"]}).to_parquet(
        changed / "plan.parquet"
    )
    assert load(changed).stages["stage_id"].tolist() == ["h1", "h2"]


def test_without_a_plan_everything_counts(changed):
    """Without a plan all records count."""
    (changed / "plan.parquet").unlink()
    (changed / "index.jsonl").write_text("")
    assert len(load(changed).trials) == len(load(changed).all_trials) == 4


def test_a_study_is_found_by_its_name_or_the_message_lists_them(changed, monkeypatch):
    """A study is named by its folder or its name in `runs/`; any other name raises one line with the existing studies."""
    monkeypatch.chdir(changed.parents[1])
    assert find_study("s").resolve() == find_study("runs/s").resolve() == find_study(changed).resolve() == changed.resolve()
    assert str(find_study("wandb:lab/pets")) == "wandb:lab/pets"
    (changed.parents[1] / "empty").mkdir()
    for named, why in (("nope", "no such folder"), ("empty", "no study.json in it")):
        with pytest.raises(UserError, match=rf"^{named}: holds no study \({why}\); name .*: runs/ holds s$"):
            find_study(named)
