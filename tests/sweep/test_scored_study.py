"""The scores of sources in whole studies, in one process."""

from dataclasses import replace
from pathlib import Path

import pytest

import segsweep
from segsweep import source_score
from segsweep.config import Study
from segsweep.errors import UserError
from segsweep.records import Records, load
from segsweep.report.source_scores import source_scores
from segsweep.report.text import table_text
from segsweep.store.contents import SCORE
from segsweep.store.opening import open_store
from segsweep.sweep import session
from segsweep.sweep.source_scores import no_scores

MEASURED = ["logme", "logme_se", "gbc", "h_score", "images", "pixels", "kid"]


def run(study: Study, folder: Path, **options: object) -> Records:
    """Run a study with one thread in a folder."""
    return segsweep.run(study, out=folder / "runs", runner="inline", device="cpu", threads=1, **options)


@pytest.fixture
def small(tiny_study: Study) -> Study:
    """Both sources with one tuning trial and one confirmed run."""
    return replace(tiny_study, name="small", compare={**tiny_study.grids[0], "freeze": ("none",)}, trials_per_cell=1, seeds=1)


def test_a_study_scores_its_sources_last(finished: Path) -> None:
    """Each source has one row, which starts after all trials; of these two, the trained one has the higher LogME."""
    records = load(finished / "runs" / "tiny")
    scores = records.scores.set_index("source")
    assert (scores["status"] == "finished").all()
    assert scores["start_number"].min() > records.trials["start_number"].max()
    trained, random = (scores.loc[source] for source in (records.stages["stage"].iloc[0], "random"))
    assert trained["logme"] > random["logme"]
    assert (trained["stage_id"], trained["encoder"]) == (records.stages["stage_id"].iloc[0], "unet4")
    assert source_scores(records)["source"].tolist() == records.trials["source"].unique().tolist()


def test_a_second_study_reuses_the_scores(copy_of_finished: Path, small: Study) -> None:
    """Another study with the same sources records the same scores, and computes none."""
    before = load(copy_of_finished / "runs" / "tiny").scores
    stored = open_store(copy_of_finished / "store").keys(SCORE)
    again = run(small, copy_of_finished).scores
    assert again[MEASURED].equals(before[MEASURED])
    assert open_store(copy_of_finished / "store").keys(SCORE) == stored
    assert set(again["study"]) == {"small"}


def test_a_failed_score_fails_nothing_else(copy_of_finished: Path, small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a row with the reason, the study is complete, and only `retry_failed` computes it again."""
    store = open_store(copy_of_finished / "store")
    for key in store.keys(SCORE):
        store.remove(SCORE, key)

    def broken(*_: object) -> None:
        raise UserError("the encoder has no feature maps")

    with monkeypatch.context() as patch:
        patch.setattr(source_score, "score_source", broken)
        records = run(small, copy_of_finished)
    assert set(records.scores["status"]) == {"failed"}
    assert set(records.scores["error"]) == {"the encoder has no feature maps"}
    assert set(records.trials["status"]) == {"finished"}
    assert "feature maps" not in table_text(records)
    assert set(run(small, copy_of_finished).scores["status"]) == {"failed"}
    assert set(run(small, copy_of_finished, retry_failed=True).scores["status"]) == {"finished"}


def test_a_finished_study_without_scores_gets_them(copy_of_finished: Path, small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that an earlier version finished has an empty table; its next start computes the scores and repeats no trial."""
    with monkeypatch.context() as patch:
        patch.setattr(session, "score_tasks", lambda plan, undecided, fixed_weights: no_scores(plan, undecided))  # noqa: ARG005
        before = run(small, copy_of_finished)
    after = run(small, copy_of_finished)
    assert (len(before.scores), len(after.scores)) == (0, 2)
    assert after.trials["starts"].tolist() == before.trials["starts"].tolist()
