import pytest

from segsweep.records.schema import EPOCHS, task_tables
from segsweep.records.wandb.names import config_of, epoch_from, history_of, row_from, run_id, summary_of
from segsweep.records.wandb.reader import status_of

WHOSE = ("study", "trial_id", "phase")
TRIALS = task_tables()["trials"]


@pytest.mark.parametrize("name", task_tables())
def test_every_column_comes_back(name):
    """A row that is split into config and summary, and joined again, is unchanged."""
    table = task_tables()[name]
    row = {name: number for number, name in enumerate([*table.columns, "test_iou_a cat", "before_iou_car", "weight_decay"])}
    config, summary = config_of(table, row), summary_of(table, row)
    assert row_from(table, config, summary) == row
    assert not set(config) & set(summary)


def test_every_column_of_an_epoch_comes_back():
    """An epoch that is written as a row of history, and read again, is unchanged; keys that W&B adds are ignored."""
    row = {name: number for number, name in enumerate(EPOCHS) if name not in WHOSE}
    assert epoch_from({"segsweep/start": 2.5, **history_of(row), "_step": 3, "_timestamp": 1.5, "examples/test": {}}) == row


def test_an_epoch_does_not_overwrite_a_result():
    """The last epoch's values, which W&B copies into the summary, do not become columns of the trial."""
    epoch = {name: 1.0 for name in EPOCHS if name not in WHOSE}
    last = {**history_of(epoch), "_wandb": {"runtime": 3}, "_runtime": 3.5}
    assert row_from(TRIALS, {"trial_id": "a"}, last) == {"trial_id": "a"}


def test_results_are_called_as_documented():
    """Settings keep their names; the keys of results begin with the split that they were measured on."""
    row = {"source": "random", "val_iou": 0.5, "best_epoch": 3, "test_iou": 0.4, "status": "finished", "train_images": 9}
    assert config_of(TRIALS, row) == {"source": "random", "train_images": 9}
    assert summary_of(TRIALS, row) == {"best/val_iou": 0.5, "best/epoch": 3, "test/iou": 0.4, "status": "finished"}
    assert history_of({"epoch": 1, "val_iou": 0.5, "train_loss": 2.0, "seconds": 3.0, "val_f1": None}) == {
        "epoch": 1,
        "val/iou": 0.5,
        "train/loss": 2.0,
        "epoch/seconds": 3.0,
    }


def test_ids_have_only_allowed_characters():
    """A study's name may contain characters that a run's id may not."""
    assert run_id("my study/2: ü") == "my-study-2---"


@pytest.mark.parametrize(
    ("status", "state", "expected"),
    [
        ("running", "running", "running"),
        ("paused", "running", "paused"),
        ("running", "crashed", "interrupted"),
        ("paused", "crashed", "interrupted"),
        ("finished", "finished", "finished"),
        ("stopped", "running", "stopped"),
    ],
)
def test_a_run_without_its_process_is_interrupted(status, state, expected):
    """A run whose process died keeps the status `running` or `paused` in W&B; its task is interrupted, as in the folder."""
    assert status_of(status, state) == expected
