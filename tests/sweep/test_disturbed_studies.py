"""Studies whose disk fills up, whose store disappears or whose artifacts are lost give the same table."""

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from segsweep.config import Study
from segsweep.errors import OutageError
from segsweep.records import Records, load
from segsweep.report.text import table_text
from segsweep.store.folder import FolderStore
from segsweep.store.protocol import Artifact
from segsweep.sweep import outage
from segsweep.sweep.folders import Folders
from segsweep.sweep.run import run_in
from segsweep.sweep.worker_pool import Options
from segsweep.training import checkpoint

MEASURED = ["status", "train_loss", "val_loss", "val_iou", "test_iou", "test_loss", "source_hash", "learning_rate"]


@pytest.fixture(scope="module")
def small(tiny_study: Study) -> Study:
    """One cell with a source, two tuning trials and one confirmed run: three trials and one stage, about two seconds."""
    (source,) = (name for name in tiny_study.grids[0]["source"] if name != "random")
    return replace(tiny_study, compare={"source": [source]}, seeds=1)


@pytest.fixture(scope="module")
def undisturbed(small: Study, tmp_path_factory: pytest.TempPathFactory) -> Records:
    """The records of the same study without a disturbance."""
    return Disturbed(small, tmp_path_factory.mktemp("undisturbed")).run()


@dataclass
class Disturbed:
    """A study that runs in this process, its output, and the thread that disturbs it."""

    study: Study
    folder: Path
    store: Path | None = None
    log: io.StringIO = field(default_factory=io.StringIO)

    @property
    def records(self) -> Path:
        return self.folder / "runs" / self.study.name

    def run(self, disturb: Callable[[], None] | None = None, **options: object) -> Records:
        """Run the study while another thread calls `disturb`, and return the records."""
        thread = threading.Thread(target=disturb or (lambda: None), daemon=True)
        thread.start()
        folders = Folders.make(self.folder / "runs", self.store or self.folder / "store", [])
        try:
            return run_in(
                self.study, folders, Options(runner="inline", device="cpu", threads=1, **options), Console(file=self.log)
            )
        finally:
            thread.join(30)
            assert not thread.is_alive()

    def wait_for(self, words: str) -> None:
        """Wait until the study has printed a text."""
        self.wait(lambda: words in self.log.getvalue())

    def wait_for_epochs(self, count: int) -> None:
        """Wait until `count` epochs are recorded."""
        live = self.records / "live"
        self.wait(lambda: sum(path.read_text().count('"kind": "epoch"') for path in live.glob("*.jsonl")) >= count)

    def wait(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline, self.log.getvalue()
            time.sleep(0.01)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten all polling intervals."""
    monkeypatch.setattr(outage, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(outage, "LONGEST_SECONDS", 0.5)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk with room for two checkpoints of 31 MB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(mount)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("may not mount a disk here")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(disk: Path) -> None:
    """Fill a disk completely."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def assert_equal(records: Records, undisturbed: Records) -> None:
    """Check that a study has the numbers of an undisturbed one, and repeated no epoch."""
    assert set(records.trials["status"]) == {"finished"}
    tables = [each.trials.set_index("trial_id").sort_index()[MEASURED] for each in (records, undisturbed)]
    pd.testing.assert_frame_equal(*tables)
    assert table_text(records) == table_text(undisturbed)
    assert list(records.stages["status"]) == ["finished"]
    assert not records.epochs.duplicated(["trial_id", "epoch"]).any()
    assert len(records.epochs) == len(undisturbed.epochs)


@pytest.mark.parametrize("what", ["store", pytest.param("records", marks=[pytest.mark.slow, pytest.mark.ci])])
def test_a_disk_that_fills_up_pauses_the_study(what: str, small: Study, undisturbed: Records, disk: Path, tmp_path: Path) -> None:
    """On a full disk nothing fails; once there is space again, the study resumes automatically and gives the same table."""
    study = Disturbed(small, tmp_path, disk / "store") if what == "store" else Disturbed(small, disk, tmp_path / "store")

    def disturb() -> None:
        study.wait_for_epochs(1)
        fill(disk)
        study.wait_for("paused: No space left on device: ")
        time.sleep(0.5)
        (disk / "filler").unlink()

    assert_equal(study.run(disturb), undisturbed)
    output = study.log.getvalue()
    assert "free some space there; the study resumes automatically" in " ".join(output.split())
    assert output.index("paused: ") < output.index("resumed\n")


@pytest.mark.ci
@pytest.mark.slow
def test_a_store_that_disappears_and_returns(small: Study, undisturbed: Records, tmp_path: Path) -> None:
    """A study waits for a store that is moved away, such as an unmounted disk, and does not create a new one."""
    study, made = Disturbed(small, tmp_path), []

    def disturb() -> None:
        study.wait_for_epochs(1)
        (tmp_path / "store").rename(tmp_path / "away")
        study.wait_for("store is gone; restore it")
        time.sleep(0.5)
        made.append((tmp_path / "store").exists())
        (tmp_path / "away").rename(tmp_path / "store")

    assert_equal(study.run(disturb), undisturbed)
    assert made == [False]


@pytest.mark.slow
def test_a_missing_permission_pauses_the_study(
    small: Study, undisturbed: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint without write permission, several times, fails no trial and repeats at most one epoch."""
    study, left, whole = Disturbed(small, tmp_path), [2], checkpoint.save_file

    def save_file(*values: object) -> None:
        if left[0] and study.records.exists() and list((study.records / "live").glob("*.jsonl")):
            left[0] -= 1
            raise PermissionError(13, "Permission denied", str(values[1]))
        whole(*values)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint, "save_file", save_file)
    records = study.run()
    assert left == [0]
    assert_equal(records, undisturbed)
    assert "restore the permission" in " ".join(study.log.getvalue().split())


def test_a_stage_that_is_lost_while_trials_run_is_rebuilt(small: Study, undisturbed: Records, tmp_path: Path) -> None:
    """Weights that disappear from the store while their trials run are trained again, and the table is the same."""
    study = Disturbed(small, tmp_path)

    def disturb() -> None:
        study.wait(lambda: list((tmp_path / "store" / "weights").glob("*/artifact.json")) != [])
        study.wait_for("stages 1/1")
        (tmp_path / "store" / "weights").rename(tmp_path / "gone")  # in one step: the run sets aside a partial artifact

    records = study.run(disturb)
    assert_equal(records, undisturbed)
    assert study.log.getvalue().count("building stage") == 2


@pytest.mark.slow
def test_data_that_is_lost_while_trials_run_is_prepared_again(small: Study, undisturbed: Records, tmp_path: Path) -> None:
    """Prepared images that disappear from the store are decoded again by the same run."""
    study = Disturbed(small, tmp_path)

    def disturb() -> None:
        study.wait_for_epochs(1)
        (tmp_path / "store" / "data").rename(tmp_path / "gone")

    assert_equal(study.run(disturb), undisturbed)
    assert study.log.getvalue().count("preparing ") > 2


@pytest.mark.slow
def test_a_stage_that_is_lost_repeatedly_ends_the_run(
    small: Study, undisturbed: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that loses a stage repeatedly ends the run with one line; nothing fails, and the same command continues."""
    study, whole = Disturbed(small, tmp_path), FolderStore.open

    def open_artifact(self: FolderStore, kind: str, key: str, *more: Any, **named: Any) -> Artifact:
        if kind == "weights":
            self.remove(kind, key)
        return whole(self, kind, key, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "open", open_artifact)
        with pytest.raises(OutageError, match=r"weights .* was lost again after 3 rebuilds"):
            study.run()
    statuses = load(study.records).trials["status"]
    assert (statuses == "interrupted").sum() == 1
    assert "failed" not in set(statuses)
    assert_equal(study.run(), undisturbed)


@pytest.mark.slow
def test_a_bounded_wait_ends_the_study_as_interrupted(small: Study, undisturbed: Records, disk: Path, tmp_path: Path) -> None:
    """With `wait_minutes`, a full disk ends the study after that time; running tasks are interrupted, and the same command
    continues."""
    study = Disturbed(small, tmp_path, disk / "store")

    def disturb() -> None:
        study.wait_for_epochs(1)
        fill(disk)

    with pytest.raises(OutageError, match=r"No space left on device.*the same command continues"):
        study.run(disturb, wait_minutes=0.02)
    records = load(study.records)
    statuses = pd.concat([records.trials["status"], records.stages["status"]])
    assert (statuses == "interrupted").sum() == 1
    assert "failed" not in set(statuses)
    (disk / "filler").unlink()
    assert_equal(study.run(), undisturbed)


SCRIPT = """
import sys
from segsweep import LogUniform, Study, Target, main
from segsweep.store import faults

study = Study(
    name="paused",
    target=Target("folder:{target}"),
    compare={{"source": ["random"]}},
    tune={{"learning_rate": LogUniform(1e-4, 1e-2)}},
    fixed={{"architecture": "unet4", "image_px": 32, "epochs": 2, "batch_size": 8}},
    trials_per_cell=2,
    seeds=1,
)
main(study)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("what", ["store", "records"])
def test_a_signal_ends_a_pause(what: str, number: int, ellipses: Path, tmp_path: Path, disk: Path) -> None:
    """While the study is paused for lack of space, Ctrl-C and SIGTERM end it at once with code 130 and print how to continue."""
    script = tmp_path / "paused.py"
    script.write_text(SCRIPT.format(target=ellipses))
    out, store = (tmp_path / "runs", disk / "store") if what == "store" else (disk / "runs", tmp_path / "store")
    command = [sys.executable, str(script), "--runner", "inline", "--threads", "1", "--out", str(out), "--store", str(store)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (tmp_path / "log").open("w") as log:
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # shells start background jobs with INT ignored
        process = subprocess.Popen(command, stderr=log, stdout=log, env=environment, preexec_fn=heard)
    deadline = time.monotonic() + 60
    while '"epoch"' not in "".join(path.read_text() for path in (out / "paused" / "live").glob("*.jsonl")):
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.005)
    fill(disk)
    while "paused: " not in (tmp_path / "log").read_text():
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.05)
    pressed = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=30) == 130, (tmp_path / "log").read_text()
    assert time.monotonic() - pressed < 10
    output = (tmp_path / "log").read_text()
    assert "To continue: python" in output
    assert "Traceback" not in output
    (disk / "filler").unlink()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert set(load(out / "paused").trials["status"]) == {"finished"}
