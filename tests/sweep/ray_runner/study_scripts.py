"""Study scripts that run on the test cluster as separate drivers, and their workers."""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
from forked_commands import Command, Forks

from segsweep.records import Records

EPOCHS, SOURCE_EPOCHS = 4, 40  # the source trains for some seconds, in which a test can kill it
AWAITED_SECONDS = 150  # on a busy machine a driver and its workers import torch for a minute
SCRIPT = """
from segsweep import LogUniform, Study, Target, main

study = Study(
    name="{name}",
    target=Target("folder:{target}"),
    compare={{"source": ["random", "supervised:folder:{source}"]}},
    tune={{"learning_rate": LogUniform(1e-4, 1e-2)}},
    fixed={{"architecture": "unet4", "image_px": 32, "epochs": 4, "source_epochs": 40, "batch_size": 8}},
    trials_per_cell=1,
    seeds=1,
)

if __name__ == "__main__":
    main(study)
"""


@dataclass
class Script:
    """A study script in its own folder, which runs on the test cluster."""

    path: Path
    address: str
    name: str
    forks: Forks

    @property
    def records(self) -> Path:
        return self.path.parent / "runs" / self.name

    def start(self, *arguments: str) -> Command:
        """Start a driver."""
        return self.forks.start(self.path, "--threads", "1", *arguments, RAY_ADDRESS=self.address)

    def run(self, *arguments: str) -> str:
        """Run a driver to its end, and return its output."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        return output

    def await_epochs(self, count: int, process: Command, kind: str = "trials") -> None:
        """Wait until `count` epochs of trials or stages are in the records' lines."""
        deadline = time.monotonic() + AWAITED_SECONDS
        while self._epochs(kind) < count:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _epochs(self, kind: str) -> int:
        texts = []
        for path in self.records.glob("live/*.jsonl"):
            try:
                texts.append(path.read_text())
            except FileNotFoundError:  # gathered meanwhile
                continue
        return sum(text.count('"kind": "epoch"') for text in texts if f'"table": "{kind}"' in text)


def workers() -> list[psutil.Process]:
    """Return the processes of segsweep's workers on this machine."""
    return [process for process in psutil.process_iter(["cmdline"]) if _is_worker(process)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        command = process.info["cmdline"]
    except psutil.Error:
        return False
    return bool(command) and command[0].startswith("ray::segsweep")


def kill_workers(count: int) -> None:
    """Kill `count` workers with -9."""
    for process in workers()[:count]:
        process.send_signal(signal.SIGKILL)


MEASURED = ["train_loss", "val_loss", "val_iou", "test_iou", "test_loss", "source_hash"]


def measured(records: Records) -> pd.DataFrame:
    return records.trials.set_index("trial_id").sort_index()[MEASURED]


def assert_whole(records: Records, undisturbed: pd.DataFrame) -> None:
    """Check that a study has finished with the numbers of an undisturbed one, and repeated no epoch."""
    assert set(records.trials["status"]) == {"finished"}
    pd.testing.assert_frame_equal(measured(records), undisturbed, check_exact=True)
    counts = records.epochs.groupby(["phase", "trial_id"])["epoch"].agg(list)
    for (phase, _), found in counts.items():
        assert found == list(range(1, (SOURCE_EPOCHS if phase == "stage" else EPOCHS) + 1))
