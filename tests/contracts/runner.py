"""Contract of runners: tests of whole studies that the tests of a runner inherit."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

import segsweep
from segsweep.config import PerCellASHA, Study
from segsweep.records import Records, load
from segsweep.report.text import table_text
from segsweep.store.opening import open_store
from segsweep.sweep import early_stopping
from segsweep.sweep.decisions import Verdict
from segsweep.sweep.early_stopping import CellCurves

MEASURED = ["train_loss", "val_loss", "val_iou", "test_iou", "test_loss", "test_dice", "source_hash", "learning_rate"]


class PauseOnce:
    """Pauses every tuning trial after its first epoch, until both trials of its cell have reached it."""

    def __init__(self, settings: PerCellASHA) -> None:
        self.settings = settings

    def decide(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> Verdict:  # noqa: ARG002
        """Pause at the first epoch while the cell has fewer than two curves."""
        return Verdict.PAUSE if epoch == 1 and len(cell.curves) < 2 else Verdict.CONTINUE


def measured(records: Records) -> pd.DataFrame:
    """Return the measurements of trials, by trial."""
    return records.trials.set_index("trial_id").sort_index()[MEASURED]


@pytest.mark.timeout(180)  # the first test also waits for shared fixtures: a cluster, the reference study
class RunnerContract:
    """Tests of whole studies.

    `options` are the arguments of `segsweep.run` that choose the runner. `one_worker` are further arguments for studies whose
    claim needs no second worker: on Ray each worker imports libraries for seconds.
    """

    options: ClassVar[dict[str, Any]]
    one_worker: ClassVar[dict[str, Any]] = {}

    def run(self, study: Study, folder: Path, **more: Any) -> Records:
        """Run a study in a folder, with one thread per worker, and return its records."""
        return segsweep.run(study, out=folder / "runs", device="cpu", threads=1, **{**self.options, **more})

    def test_every_trial_runs_once_with_the_same_numbers(self, finished: Path, tiny_study: Study, tmp_path: Path) -> None:
        """Every number equals that of a single process to the last bit, and no checkpoints remain.

        The stage that eight trials need is built once, and none of them starts before.
        """
        reference, found = load(finished / "runs" / "tiny"), self.run(tiny_study, tmp_path)
        pd.testing.assert_frame_equal(measured(found), measured(reference), check_exact=True)
        assert table_text(found) == table_text(reference)
        assert (found.trials["starts"] == 1).all()
        assert list(found.stages["starts"]) == [1]
        later = found.trials[found.trials["source"] != "random"]
        assert len(later) == 8
        assert later["started_at"].min() >= found.stages["ended_at"].max()
        assert later["source_hash"].nunique() == 1
        assert found.epochs.groupby("trial_id")["epoch"].agg(list).map(lambda epochs: epochs == [1, 2]).all()
        assert open_store(tmp_path / "store").unfinished() == []

    def test_the_same_again_starts_nothing(self, copy_of_finished: Path, tiny_study: Study) -> None:
        """A finished study is finished for every runner, and its table is the same."""
        table = table_text(load(copy_of_finished / "runs" / "tiny"))
        again = self.run(tiny_study, copy_of_finished)
        assert (again.trials["starts"] == 1).all()
        assert (again.stages["starts"] == 1).all()
        assert table_text(again) == table

    def test_a_failure_is_a_record_and_the_sweep_continues(self, tiny_study: Study, tmp_path: Path) -> None:
        """A trial with a broken loss fails with its reason and the others finish; a retry runs only the failed ones."""
        fixed = {**tiny_study.fixed, "optimizer": "adamw", "weight_decay": 1e3, "epochs": 4}
        study = replace(tiny_study, compare={"learning_rate": [1e-3, 99.0]}, tune={}, fixed=fixed, seeds=1)
        trials = self.run(study, tmp_path, **self.one_worker).trials
        assert dict(zip(trials["learning_rate"], trials["status"], strict=True)) == {1e-3: "finished", 99.0: "failed"}
        assert trials.loc[trials["status"] == "failed", "error"].str.contains("loss is").all()
        assert (self.run(study, tmp_path).trials["starts"] == 1).all()
        again = self.run(study, tmp_path, retry_failed=True, **self.one_worker).trials.set_index("trial_id")
        before = trials.set_index("trial_id").loc[again.index]
        assert ((again["started_at"] > before["started_at"]) == (before["status"] == "failed")).all()

    def test_a_stopped_trial_has_no_further_epoch(self, tiny_study: Study, tmp_path: Path) -> None:
        """An early-stopping rule stops some trials after their first epoch, and every cell has its confirmed runs."""
        study = replace(tiny_study, compare={"source": ["random"]}, trials_per_cell=4, early_stopping=PerCellASHA(1, 2))
        records = self.run(study, tmp_path, **self.one_worker)
        stopped = records.trials[records.trials["status"] == "stopped"]
        assert len(stopped) >= 1
        assert (stopped["epochs_run"] == 1).all()
        assert stopped["val_iou"].notna().all()
        assert (records.epochs.groupby("trial_id").size()[stopped["trial_id"]] == 1).all()
        assert set(records.trials.loc[records.trials["phase"] == "confirm", "status"]) == {"finished"}
        assert open_store(tmp_path / "store").unfinished() == []

    def test_a_paused_trial_resumes_with_the_same_numbers(
        self, finished: Path, tiny_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Trials that pause after an epoch free their worker, resume from their checkpoint, and run no epoch twice."""
        monkeypatch.setattr(early_stopping, "RULES", {PerCellASHA: PauseOnce})
        study = replace(tiny_study, compare={**tiny_study.grids[0], "freeze": ("none",)}, early_stopping=PerCellASHA())
        found, reference = self.run(study, tmp_path, **self.one_worker), measured(load(finished / "runs" / "tiny"))
        numbers = measured(found)
        assert len(numbers) == 8
        pd.testing.assert_frame_equal(numbers, reference.loc[numbers.index], check_exact=True)
        tuning = found.trials[found.trials["phase"] == "tune"]
        assert set(tuning["status"]) == {"finished"}
        assert 2 <= (tuning["starts"] == 2).sum() <= 4
        assert found.epochs.groupby("trial_id")["epoch"].agg(list).map(lambda epochs: epochs == [1, 2]).all()
