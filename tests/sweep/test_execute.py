"""The classification of errors in tasks, for every runner."""

import errno
from pathlib import Path

import pytest
from studies import plan_of, small_study

from segsweep.context import ExecutionContext
from segsweep.errors import LostArtifactError, UserError
from segsweep.store.folder import FolderStore
from segsweep.sweep.execute import execute
from segsweep.tasks.messages import Blocked, Failed, Lost
from segsweep.tasks.task import Assignment
from segsweep.tasks.trial_task import TrialTask
from segsweep.training.device import Device
from segsweep.training.loop import NonFiniteLossError

ASSIGNMENT = Assignment(TrialTask(plan_of(small_study()).cells[0].tuning[0]))
FULL = OSError(errno.ENOSPC, "No space left on device", "/store/work/last.safetensors")


@pytest.mark.parametrize(
    ("error", "means", "says"),
    [
        (FULL, Blocked, "No space left on device: /store/work/last.safetensors"),
        (LostArtifactError("weights", "abc", "is missing"), Lost, "abc"),
        (NonFiniteLossError("training loss is nan"), Failed, "training loss is nan"),
        (UserError("batch_size=1"), Failed, "batch_size=1"),
        (RuntimeError("shapes differ"), Failed, "RuntimeError: shapes differ"),
    ],
)
def test_an_error_of_the_environment_is_no_failure(
    error: Exception, means: type, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only an error of the task itself is a failure; each error's message is the last one."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("segsweep.trial.run_trial", fail)
    store = FolderStore(tmp_path / "store")
    store.claim()
    (message,) = execute(ASSIGNMENT, ExecutionContext(store, Device("cpu", 1)))
    assert isinstance(message.body, means)
    assert says in repr(message)
    assert message.is_last


def test_every_error_on_a_missing_store_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task whose store is moved away is blocked, and accessing its checkpoints does not create an empty store."""
    store = FolderStore(tmp_path / "store")
    store.claim()

    def run(*_: object) -> None:
        store.root.rename(tmp_path / "away")
        store.checkpoints("trial").open()

    monkeypatch.setattr("segsweep.trial.run_trial", run)
    (message,) = execute(ASSIGNMENT, ExecutionContext(store, Device("cpu", 1)))
    assert isinstance(message.body, Blocked)
    assert message.body.fault.reason == f"{store.root} is gone"
    assert not store.root.exists()


def test_weights_that_vanish_while_they_are_read_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file of an artifact that has left the store makes the stage be rebuilt; any other missing file is a failure."""
    store = FolderStore(tmp_path / "store")
    store.claim()
    trial = next(trial for cell in plan_of(small_study()).cells for trial in cell.tuning if trial.stage is not None)
    with store.building("weights", "key") as build:
        (build.folder / "weights.safetensors").write_bytes(b"weights")
        build.commit({})

    def run(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "weights.safetensors")

    monkeypatch.setattr("segsweep.trial.run_trial", run)
    context = ExecutionContext(store, Device("cpu", 1))
    (message,) = execute(Assignment(TrialTask(trial), ("key",)), context)
    assert isinstance(message.body, Failed)
    store.remove("weights", "key")
    (message,) = execute(Assignment(TrialTask(trial), ("key",)), context)
    assert message.body == Lost("weights", "key", message.body.reason)
