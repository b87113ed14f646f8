"""The state from records of earlier starts: which trials count as run, and whose curves are kept."""

from pathlib import Path

import pytest

from segsweep.config import PerCellASHA, PerCellRacing
from segsweep.config.early_stopping import EarlyStopping
from segsweep.records import Records, load
from segsweep.records.writer import RecordWriter
from segsweep.sweep.resume import ids_to_restart, resume_state

RULE = PerCellRacing(margin=0.01)
ENDS = {"finished": {}, "stopped": {"stopped_by": str(RULE)}, "failed": {"error": "loss is nan"}, "interrupted": {}}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Records with one tuning trial per status, named after it, with one epoch each."""
    with RecordWriter(tmp_path) as writer:
        writer.declare({"name": "s", "schema_version": 1, "early_stopping": str(RULE)})
        for status, columns in ENDS.items():
            writer.start("trials", status, {"trial_id": status, "phase": "tune", "study": "s", "cell": "c"})
            writer.epoch(status, {"epoch": 1, "val_loss": 0.5, "val_iou": 0.5, "val_dice": 0.5, "seconds": 1.0})
            writer.end(status, status, columns)
    return load(tmp_path)


@pytest.mark.parametrize(
    ("rule", "retry_failed", "not_run"),
    [
        (RULE, False, set()),
        (RULE, True, {"failed"}),
        (None, False, {"stopped"}),
        (PerCellASHA(), False, {"stopped"}),
        (PerCellRacing(margin=0.02), False, {"stopped"}),
        (None, True, {"stopped", "failed"}),
    ],
)
def test_trials_that_count_as_not_run_have_no_curve(
    records: Records, rule: EarlyStopping | None, retry_failed: bool, not_run: set[str]
) -> None:
    """Trials that another rule stopped, and retried ones, have neither end nor curve; interrupted trials keep their curve."""
    resume = resume_state(records, rule, retry_failed)
    assert set(resume.ended) == {"finished", "stopped", "failed"} - not_run
    assert set(resume.curves) == set(ENDS) - not_run


def test_stopped_and_failed_trials_would_start_from_scratch(records: Records) -> None:
    """Trials that ended without finishing start from scratch if they run again; interrupted ones resume."""
    assert ids_to_restart(records) == {"stopped", "failed"}


def test_a_run_whose_model_is_lost_counts_as_not_run(records: Records) -> None:
    """It has neither end nor curve, and its record discards everything from before."""
    resume = resume_state(records, RULE, lost=["finished"])
    assert set(resume.ended) == {"stopped", "failed"}
    assert "finished" not in resume.curves
    assert ids_to_restart(records, ["finished"]) == {"stopped", "failed", "finished"}
