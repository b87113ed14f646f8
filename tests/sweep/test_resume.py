"""What earlier starts left, from records: what counts as run, and whose curves count."""

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
    """Records of a tuning trial of each status, called by it, with one epoch each."""
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
def test_what_counts_as_not_run_has_no_curve(
    records: Records, rule: EarlyStopping | None, retry_failed: bool, not_run: set[str]
) -> None:
    """What another rule stopped and what is retried has neither end nor curve; what was interrupted keeps its curve."""
    resume = resume_state(records, rule, retry_failed)
    assert set(resume.ended) == {"finished", "stopped", "failed"} - not_run
    assert set(resume.curves) == set(ENDS) - not_run


def test_what_was_stopped_or_failed_would_start_from_nothing(records: Records) -> None:
    """Trials that ended without finishing start anew if they do; those that were interrupted go on."""
    assert ids_to_restart(records) == {"stopped", "failed"}


def test_a_run_whose_model_is_lost_counts_as_not_run_and_starts_from_nothing(records: Records) -> None:
    """It has neither end nor curve, and nothing of what it left before stays in its record."""
    resume = resume_state(records, RULE, lost=["finished"])
    assert set(resume.ended) == {"stopped", "failed"}
    assert "finished" not in resume.curves
    assert ids_to_restart(records, ["finished"]) == {"stopped", "failed", "finished"}
