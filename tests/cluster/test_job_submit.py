"""A study as a Ray job on a head without GPUs: submitted from a fresh clone, stopped at any time, submitted again."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from machines import MINUTES, PROJECT, Machines, require, wait_until
from small_study import EPOCHS, SOURCE_EPOCHS, SmallStudy, assert_whole, measured

from segsweep.records import load

MODES = ("open", "token")  # machines: one without a token, one that requires a token
SCRIPT = '''
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segsweep import LogUniform, Study, Supervised, Target, main
from segsweep.data.dataset import Example


@dataclass(frozen=True)
class Stripes:
    """Bright stripes, which are read as slowly as from a busy disk while the file `slow` is there."""

    name: str
    fit = "resize"
    pool = ("train",)
    protocols = {{}}
    schemes = {{"all": ("ground", "stripe")}}

    def examples(self):
        return [Example(f"{{self.name}} {{number}}") for number in range(20)]

    def files(self):
        return []

    def revision(self):
        return f"stripes {{self.name}} 1"

    def read(self, example, scheme):
        folder = Path(os.environ["BED"])
        (folder / "reading").touch()
        while (folder / "slow").exists():
            time.sleep(0.05)
        start = int(example.name.split()[-1])
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[start : start + 8, : 32 if self.name == "target" else 16] = 1
        return np.repeat((mask * 150 + start)[..., None], 3, axis=2).astype(np.uint8), mask


study = Study(
    name="small",
    target=Target(Stripes("target")),
    compare={{"source": ["random", Supervised(Stripes("source"))]}},
    tune={{"learning_rate": LogUniform(1e-4, 1e-2)}},
    fixed={{"architecture": "unet16", "image_px": 32, "epochs": {epochs}, "source_epochs": {source_epochs}, "batch_size": 4}},
    trials_per_cell=2,
    seeds=2,
)

if __name__ == "__main__":
    main(study)
'''
JOB = """
trap : TERM  # which `ray job stop` sends to every process of a job; this shell stays to report the driver's exit code
python study.py --threads 1
echo "exit code $?"
"""
LAST_LINES = re.compile(r"interrupted; everything so far is kept\. To continue: python study\.py --threads 1\nexit code 130\n$")


@pytest.fixture(scope="module")
def machine_names() -> tuple[str, ...]:
    """One machine per head, and one outside all clusters."""
    return (*MODES, "outside")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The measures of the study's trials in one process, without Ray and without disturbances."""
    folder = tmp_path_factory.mktemp("undisturbed")
    _write_job(folder)
    command = [sys.executable, "study.py", "--threads", "1", "--runner", "inline"]
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(PROJECT), "BED": str(folder)}, check=True)
    return measured(load(folder / "runs" / "small"))


def _write_job(folder: Path) -> None:
    (folder / "study.py").write_text(SCRIPT.format(epochs=EPOCHS, source_epochs=SOURCE_EPOCHS))
    (folder / "job.sh").write_text(JOB)


@pytest.fixture(scope="module", params=MODES)
def job(request: pytest.FixtureRequest, machines: Machines) -> "Job":
    """A head without GPUs, with a token or without, and a fresh clone from which the study is submitted."""
    require("git")
    name = request.param
    folder = machines.shared / name
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder / "clone"], check=True)
    _write_job(folder / "clone")
    # time between SIGTERM and SIGKILL: the default of 3 s is short if all machines share two cores
    variables = {"HOME": str(folder), "RAY_AUTH_MODE": "disabled", "RAY_JOB_STOP_WAIT_TIME_S": "30", "BED": str(folder)}
    if name == "token":
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    started = Job(machines, name, folder, variables)
    started.ray("start", "--head", "--num-gpus=0", "--num-cpus=2", "--disable-usage-stats")
    return started


class Job:
    """Submissions of the study on one machine with the home folder `folder`."""

    def __init__(self, machines: Machines, name: str, folder: Path, variables: dict[str, str]) -> None:
        self.machines, self.name, self.folder, self.variables = machines, name, folder, variables
        self.study = SmallStudy(folder / "segsweep")  # relative paths of a job are below it

    def ray(self, *arguments: str, code: int = 0, **variables: str) -> str:
        """Run a command of Ray on the machine, in the clone."""
        given = {**self.variables, **variables}
        return self.machines.run(self.name, "ray", *arguments, cwd=self.folder / "clone", code=code, **given)

    def submit(self, number: str) -> None:
        """Submit the study with an id, without waiting for it."""
        self.ray("job", "submit", "--no-wait", f"--submission-id={number}", "--working-dir=.", "--", "bash", "job.sh")

    def wait(self, true: Callable[[], object], what: str, number: str) -> None:
        """Wait until a condition holds; print the job's log if it does not."""
        try:
            wait_until(true, what, 6 * MINUTES)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log(number)}") from None

    def stop(self, number: str) -> str:
        """Stop a job, and return its log."""
        self.ray("job", "stop", number)
        return self.log(number)

    def log(self, number: str) -> str:
        """Return the output of a job."""
        return self.machines.run(self.name, "cat", f"/tmp/ray/session_latest/logs/job-driver-{number}.log")


@pytest.mark.timeout(20 * MINUTES)
def test_a_job_that_is_stopped_continues_when_it_is_submitted_again(job: Job, expected: pd.DataFrame) -> None:
    """Stopped while data is prepared, and while trials train, a job ends with exit code 130 and the line that states how to
    continue; submitted again, it finishes with the numbers of an undisturbed run and starts no finished trial again."""
    (job.folder / "slow").touch()
    job.submit("preparing")
    job.wait((job.folder / "reading").exists, "data are read", "preparing")
    assert LAST_LINES.search(job.stop("preparing")), job.log("preparing")
    (job.folder / "slow").unlink()

    job.submit("training")
    job.wait(lambda: job.study.epochs() >= 3, "three epochs", "training")
    assert LAST_LINES.search(job.stop("training")), job.log("training")
    finished = job.study.finished()

    job.submit("last")
    job.wait(lambda: "exit code 0" in job.log("last"), "the study's end", "last")
    assert "val IoU" in job.log("last")
    assert_whole(job.study, expected, finished)


@pytest.mark.timeout(5 * MINUTES)
def test_a_driver_without_the_clusters_token_is_rejected_in_one_line(job: Job) -> None:
    """On a cluster that requires a token, a driver without one or with a wrong one ends at once with the remedy."""
    if job.name == "open":
        pytest.skip("lets everybody in")
    command = ["python", "study.py", "--plan"]
    job.variables.pop("RAY_AUTH_TOKEN")
    for variables, line in (
        ({}, "this user has none in RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_TOKEN": "wrong"}, "rejects the token from RAY_AUTH_TOKEN"),
    ):
        given = {**job.variables, **variables}
        said = job.machines.run(job.name, *command, cwd=job.folder / "clone", code=2, **given)
        assert line in said.splitlines()[-1]
        assert "Traceback" not in said


@pytest.mark.timeout(5 * MINUTES)
def test_a_driver_on_a_machine_outside_the_cluster_is_rejected_in_one_line(job: Job) -> None:
    """A machine that reaches the head but is not a node cannot run the driver, which prints how to submit the study instead."""
    if job.name == "token":
        pytest.skip("the same as with the open one")
    address = f"{job.machines.address(job.name)}:6379"
    given = {**job.variables, "RAY_ADDRESS": address}
    said = job.machines.run("outside", "python", "study.py", cwd=job.folder / "clone", code=2, **given)
    assert f"Ray cluster {address}: this machine is not a node of the cluster; submit the study" in said.splitlines()[-1]
    assert "Traceback" not in said
