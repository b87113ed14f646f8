"""Requests to end a study on Ray, and deaths of Ray itself: the head, the raylet of the driver's machine, that of another
machine."""

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import pandas as pd
import pytest
from study_scripts import Script, assert_whole

from segsweep.records import load

BED = """
import sys
from ray.cluster_utils import Cluster

node = {"num_cpus": 1, "object_store_memory": 2**27}
cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0, "include_dashboard": False})
others = [cluster.add_node(**node) for _ in range(2)]
processes = [cluster.head_node.all_processes["gcs_server"], *(each.all_processes["raylet"] for each in cluster.list_all_nodes())]
print(cluster.address, *(each[0].process.pid for each in processes), flush=True)
sys.stdin.read()
"""


class Bed:
    """A Ray cluster of three nodes: the driver's, which is a head without cores, and two with one core each."""

    def __init__(self, folder: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", BED],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**environment, "RAY_TMPDIR": folder},
        )
        assert self._process.stdout is not None
        self.address, *pids = self._process.stdout.readline().split()
        self.head, self.raylet, self.other, _ = map(int, pids)

    def close(self) -> None:
        """End all processes: they die with this one."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def bed() -> Iterator[Bed]:
    """A cluster for this test."""
    with tempfile.TemporaryDirectory(
        prefix="ray", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:  # a short path, for Ray's sockets
        found = Bed(folder)
        yield found
        found.close()


@pytest.mark.timeout(150)
def test_a_kill_while_data_are_prepared_is_one_line(script: Callable[..., Script]) -> None:
    """TERM (as from `ray job stop`) while a driver on Ray prepares data gives one line and 130 within 3 s, not Ray's stack
    trace."""
    study = script()
    driver = study.start()
    assert driver.stderr is not None
    while "preparing" not in driver.stderr.readline():
        assert driver.poll() is None
    sent = time.monotonic()
    driver.send_signal(signal.SIGTERM)
    _, errors = driver.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    assert driver.returncode == 130, errors
    assert errors.splitlines()[-1] == "interrupted; everything so far is kept. To continue: python tiny.py --threads 1"
    assert "SIGTERM" not in errors
    assert "Traceback" not in errors


def run_beside_death(study: Script, pid: int, seconds: float) -> tuple[int, str, str]:
    """Start a study, kill a Ray process with -9 while its first trials run, and return its code, output and errors."""
    driver = study.start()
    try:
        study.await_epochs(2, driver)
        os.kill(pid, signal.SIGKILL)
        output, errors = driver.communicate(timeout=seconds)
    finally:
        driver.kill()
        driver.communicate()
    return driver.returncode, output, errors


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("died", "named"), [("head", "the Ray head"), ("raylet", "Ray on this machine")])
def test_a_cluster_that_has_gone_ends_a_study_in_one_line(
    died: str, named: str, bed: Bed, script: Callable[..., Script], undisturbed: pd.DataFrame
) -> None:
    """The death of the head, or of the raylet of the driver's machine, gives one line and 130 within seconds; running work is
    interrupted, and on another cluster the same command finishes the study."""
    study = dataclasses.replace(script(), address=bed.address)
    code, output, errors = run_beside_death(study, getattr(bed, died), seconds=30)  # Ray itself would need 60 s, or continue
    assert code == 130, errors
    assert errors.splitlines()[-1].startswith(f"interrupted: {named} has gone (")
    assert errors.splitlines()[-1].endswith("); everything so far is kept. To continue: python tiny.py --threads 1")
    assert "Traceback" not in errors
    assert "raylet" not in output + errors
    records = load(study.records)
    running = pd.concat([records.trials, records.stages])
    interrupted = running[running["status"] == "interrupted"]
    assert len(interrupted) >= 1
    assert all(named in error for error in interrupted["error"].dropna())  # none if a call to Ray hung until the forced end
    if died == "head":
        script().run("--max-concurrent", "2")
        assert_whole(load(study.records), undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_dying_machine_prints_nothing_of_ray(bed: Bed, script: Callable[..., Script], undisturbed: pd.DataFrame) -> None:
    """When another machine than the driver's dies, nothing of Ray is printed, and the study ends with the same numbers."""
    study = dataclasses.replace(script(), address=bed.address)
    code, output, errors = run_beside_death(study, bed.other, seconds=200)
    assert code == 0, errors
    assert "state-dump" not in output + errors
    assert "(raylet)" not in output + errors
    assert_whole(load(study.records), undisturbed)
