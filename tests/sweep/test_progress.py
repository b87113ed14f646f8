"""The display of a continued study includes the progress of earlier starts."""

import io
from itertools import islice
from pathlib import Path

import pytest
from rich.console import Console
from studies import continues, end, nothing_built, plan_of, small_study

from segsweep.config.keep import Reading
from segsweep.records import Records, load
from segsweep.records.writer import RecordWriter
from segsweep.sweep.decisions import Ended
from segsweep.sweep.declaration import declaration
from segsweep.sweep.planner import Planner
from segsweep.sweep.progress import LiveView, PlainView
from segsweep.sweep.resume import earlier_progress, resume_state
from segsweep.sweep.rows import planned_rows, trial_columns
from segsweep.sweep.tally import EarlierProgress, Tally
from segsweep.tasks.trial_task import TRIAL, TrialTask

STUDY = small_study(compare={"source": ["random"], "freeze": ["none", "encoder"]})
ENDS = [("finished", 0.4), ("failed", None), ("finished", 0.6), ("interrupted", 0.9)]


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Records in which the trials of the first cell have the given statuses, and the others have not run."""
    plan = plan_of(STUDY)
    with RecordWriter(tmp_path) as writer:
        writer.declare(declaration(plan))
        writer.plan(planned_rows(Planner(plan, nothing_built)), [])
        for trial, (status, val_iou) in zip(plan.cells[0].tuning, ENDS, strict=True):
            writer.start("trials", trial.trial_id, trial_columns(trial))
            if val_iou is not None:
                row = {"epoch": 1, "val_loss": 0.5, "val_iou": val_iou, "val_dice": 0.5, "seconds": 1.0}
                writer.epoch(trial.trial_id, row)
            writer.end(trial.trial_id, status, {"val_iou": val_iou})
    return load(tmp_path)


def test_counts_and_the_best_include_earlier_starts(records: Records) -> None:
    """Ended trials count as done, per cell and in total; the best IoU is that of ended trials; failures are counted."""
    planner = Planner(plan_of(STUDY), nothing_built, resume_state(records, None))
    progress = earlier_progress(planner, records)
    tally = Tally()
    tally.begin(planner.plan, progress, 10.0)
    one, other = (cell.name for cell in planner.plan.cells)
    assert (tally.trials_done, tally.trials, tally.failed) == (3, 12, 1)
    assert (tally.cell_done, tally.best) == ({one: 3, other: 0}, {one: 0.6})
    trial = planner.plan.cells[0].tuning[3]
    continues(planner, trial, 1, Reading(0.5))
    end(planner, trial, Ended("finished"))
    tally.ended(TrialTask(trial), "finished", {"val_iou": 0.5}, planner.cells_of(TrialTask(trial)))
    assert (tally.trials_done, tally.cell_done[one], tally.best[one]) == (4, 4, 0.6)
    tally.ended(TrialTask(planner.plan.cells[0].tuning[0]), "finished", {"val_iou": 0.7}, [one])
    assert (tally.trials_done, tally.best[one]) == (4, 0.7)  # it was counted before


@pytest.mark.parametrize("view", [PlainView, LiveView])
def test_the_displays_include_earlier_starts(records: Records, view: type[PlainView | LiveView]) -> None:
    """A line of the log, and the table on a terminal, show counts and the best IoU including earlier starts."""
    planner = Planner(plan_of(STUDY), nothing_built, resume_state(records, None))
    text = io.StringIO()
    shown = view(Console(file=text, width=200, force_terminal=view is LiveView))
    shown.begin(planner.plan, earlier_progress(planner, records), 10.0)
    trial = planner.plan.cells[0].tuning[3]
    shown.ended(TrialTask(trial), "finished", {"val_iou": 0.5, "val_loss": 0.1}, planner.cells_of(TrialTask(trial)))
    if isinstance(shown, LiveView):
        shown._live.refresh()
    shown.close()
    output = text.getvalue()
    assert "4/12" in output
    assert "0.600" in output
    assert isinstance(shown, PlainView) or ("4/6" in output and "1 failed" in output)


def test_a_trial_of_two_cells_counts_in_both() -> None:
    """Cells with shared tuning trials are both shown as done, and all trials add up to the plan's number."""
    planner = Planner(plan_of(small_study(compare={"test_size": ["image_px", "original"]})), nothing_built)
    tally = Tally()
    tally.begin(planner.plan, EarlierProgress(), 10.0)
    for work in islice(iter(planner.next, None), 1000):
        assert work.task.kind == TRIAL
        continues(planner, work.task.spec, 1, Reading(0.5))
        end(planner, work.task.spec, Ended("finished"))
        tally.ended(work.task, "finished", {"val_iou": 0.5}, planner.cells_of(work.task))
    assert tally.trials_done == tally.trials == 12
    assert set(tally.cell_done.values()) == {6}
    assert len(tally.best) == 2
