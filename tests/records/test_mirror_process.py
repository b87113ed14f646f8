"""The mirror's processes with a server that fails in many ways, and with processes that are killed."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
import wandb
from wandb_server import Down, LoseAnswer, RateLimit, Refuse, Silent, Slow, WandbServer, When
from wandb_server.server import KEY

import segsweep
from segsweep.config import Study
from segsweep.errors import UserError
from segsweep.records import load
from segsweep.records.schema import SCHEMA_VERSION, TABLES
from segsweep.records.wandb.account import check_key
from segsweep.records.wandb.launch import mirroring
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.wandb.process import sync
from segsweep.records.wandb.state import read_state
from segsweep.records.writer import RecordWriter

PROJECT = "lab/pets"
ONLINE = MirrorOptions("online", PROJECT)
SECONDS = 40
PATIENCE = "SEGSWEEP_WANDB_PATIENCE"


@pytest.fixture(autouse=True)
def _impatient(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(PATIENCE, "5")


def until(happened: Callable[[], object]) -> None:
    """Wait until a condition in another process holds."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def assert_whole(study: Path) -> None:
    """Check that W&B has the whole study, and nothing of it twice."""
    local, mirrored = load(study), load(f"wandb:{PROJECT}")
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(local, table), getattr(mirrored, table), obj=table)
    for run in wandb.Api().runs(PROJECT, {"jobType": "finetune"}):
        rows = list(run.scan_history())
        epochs = [row["epoch"] for row in rows if row.get("epoch") is not None]
        assert len(epochs) == len(set(epochs)), run.id
        assert set(run.summary.get("examples/test", {}).get("filenames", ())) <= {file.name for file in run.files(per_page=100)}


FAULTS = [
    pytest.param(When(Down(), after=40), id="down"),
    pytest.param(When(LoseAnswer(), kind="POST file_stream", after=3, times=2), id="loses answers"),
    pytest.param(When(Refuse(), after=60), id="refuses", marks=pytest.mark.slow),
    pytest.param(When(RateLimit(), after=60, times=4), id="limits the rate", marks=pytest.mark.slow),
    pytest.param(When(Refuse(), kind="PUT storage/run", after=4), id="takes no files", marks=pytest.mark.slow),
    pytest.param(When(Refuse(404), kind="PUT storage/run", after=4), id="loses files", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_data_that_failed_to_send_is_sent_later(fault, copy_of_finished, wandb_server, monkeypatch):
    """After any failure of W&B, a later sync completes the study without duplicates."""
    study = copy_of_finished / "runs" / "tiny"
    wandb_server.fault = fault
    sync(study, ONLINE, lambda _: None)
    assert wandb_server.notes.faulty
    wandb_server.fault = None
    monkeypatch.delenv(PATIENCE)
    assert sync(study, ONLINE, lambda _: None)["done"]
    assert_whole(study)


def test_a_silent_server_changes_nothing_of_a_study(tiny_study: Study, finished, tmp_path, wandb_server, monkeypatch):
    """With a W&B that never answers, a study ends before its mirror, with unchanged numbers; a sync sends everything."""
    wandb_server.fault = Silent()
    records = segsweep.run(
        tiny_study, out=tmp_path / "runs", runner="inline", device="cpu", threads=1, mirror=MirrorOptions("online", PROJECT)
    )
    state = read_state(records.folder)
    assert not state.get("done")
    timed = ["started_at", "ended_at", "seconds", "predict_seconds", "images_per_second", "cpu_seconds"]
    alone = load(finished / "runs" / "tiny")
    for table in ("trials", "epochs", "images", "counts", "confusions"):
        left, right = (
            getattr(each, table).drop(columns=timed, errors="ignore").sort_values(["trial_id"], kind="stable", ignore_index=True)
            for each in (records, alone)
        )
        pd.testing.assert_frame_equal(left, right, obj=table)
    until(lambda: _end(records.folder))
    wandb_server.fault = None
    monkeypatch.delenv(PATIENCE)
    assert sync(records.folder, ONLINE, lambda _: None)["done"]
    assert_whole(records.folder)


def _mirrors(study: Path) -> list[psutil.Process]:
    """The mirror's processes of a study."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(study) in process.cmdline() and any("segsweep.records.wandb" in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _end(study: Path) -> bool:
    """Kill the mirror of a study, as the end of its machine does."""
    for process in _mirrors(study):
        for each in (*process.children(recursive=True), process):
            try:
                os.kill(each.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    return not _mirrors(study)


def epoch(number: int) -> dict[str, object]:
    return {"epoch": number, "steps": 5 * number, "val_iou": number / 10, "train_loss": 1 / number, "seconds": 2.0}


def epochs_of(trial: str) -> list[int]:
    """The epochs of a trial in W&B."""
    try:
        return [row["epoch"] for row in wandb.Api().run(f"{PROJECT}/{trial}").scan_history() if row.get("epoch") is not None]
    except (ValueError, wandb.Error):
        return []


def write(study: Path, numbers: range, status: str) -> None:
    """Write some epochs of trial `a` in a driver process, each after the previous one has arrived, and then its end."""
    with RecordWriter(study) as writer:
        writer.declare({"schema_version": SCHEMA_VERSION, "name": "s", "store": str(study.parent / "store")})
        columns = {"study": "s", "trial_id": "a", "cell": "c", "phase": "tune", "seed": 0, "source": "random"}
        writer.start("trials", "a", columns)
        for number in numbers:
            writer.epoch("a", epoch(number))
            until(lambda number=number: number in epochs_of("a"))
        if status == "finished":
            writer.end("a", status, {"val_iou": 0.5})


@pytest.mark.parametrize("killed", [pytest.param(False, id="ended", marks=pytest.mark.slow), pytest.param(True, id="killed")])
def test_a_resumed_trial_continues_its_run(killed, tmp_path, wandb_server: WandbServer, monkeypatch):
    """Epochs arrive as they are written; a resumed trial continues in the same W&B run."""
    monkeypatch.delenv(PATIENCE)
    study = tmp_path / "runs" / "s"
    study.mkdir(parents=True)
    with mirroring(study, ONLINE, print):
        write(study, range(1, 3), "running")
        if killed:
            until(lambda: _end(study))
    until(lambda: not _mirrors(study))
    run = wandb.Api().run(f"{PROJECT}/a")
    assert run.summary["status"] == ("running" if killed else "interrupted")
    with mirroring(study, ONLINE, print):
        write(study, range(1, 5), "finished")
    until(lambda: not _mirrors(study))
    assert epochs_of("a") == [1, 2, 3, 4]
    assert wandb.Api().run(f"{PROJECT}/a").state == "finished"
    assert_whole(study)
    assert not wandb_server.notes.errors


def test_the_key_is_nowhere(copy_of_finished, wandb_server: WandbServer):
    """W&B's key is in no file of a study and in no command line of a process."""
    study = copy_of_finished / "runs" / "tiny"
    messages: list[str] = []
    with mirroring(study, ONLINE, messages.append):
        until(lambda: wandb_server.calls["POST file_stream"])
        lines = [line for process in _mirrors(study) for line in (process.cmdline(), *(c.cmdline() for c in process.children()))]
        assert lines
        assert not [line for line in lines if any(KEY in word for word in line)]
    until(lambda: not _mirrors(study))
    assert "runs sent" in messages[0]
    holding = [path for path in copy_of_finished.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holding == []


def test_without_a_key_nothing_starts(tmp_path, monkeypatch):
    """Without a key, `online` is refused with the remedy; `offline` needs none."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with (
        pytest.raises(UserError, match=r"no key for api.wandb.ai.*wandb login.*--wandb offline"),
        mirroring(tmp_path / "s", ONLINE, print),
    ):
        pass
    assert not (tmp_path / "s").exists()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n login user\n password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    check_key()


def test_a_sync_takes_turns_with_the_study_s_own_mirror(copy_of_finished, wandb_server: WandbServer, monkeypatch):
    """A sync is refused while the study runs, and waits for a mirror that the command left running."""
    monkeypatch.delenv(PATIENCE)
    study = copy_of_finished / "runs" / "tiny"
    messages: list[str] = []
    with mirroring(study, ONLINE, messages.append):
        until(lambda: wandb_server.calls["mutation UpsertBucket"])
        with RecordWriter(study), pytest.raises(UserError, match="is running, and its command sends it"):
            sync(study, ONLINE, lambda _: None)
        wandb_server.fault = Slow(2.0)
    assert "continues; if it is killed" in messages[0]
    wandb_server.fault = None
    assert sync(study, ONLINE, lambda _: None)["done"]
    assert_whole(study)
