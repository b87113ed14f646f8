"""`cluster/slurm/study.sbatch` on a real Slurm cluster of three machines: interruptions, the job's log, and no repeated work."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from machines import MINUTES, PROJECT, Machines, require, wait_until
from slurm import LOGIN, Slurm, slurm_up
from small_study import PAUSE, SmallStudy, assert_whole, make_study

BATCH = PROJECT / "cluster" / "slurm" / "study.sbatch"
LASTING = {PAUSE: "2"}  # so that a study lasts longer than the test's disturbances, even on a fast machine
COMMAND = ("python", "study.py", "--threads", "1")
NODES = """
import ray

ray.init(log_to_driver=False)
alive = [node for node in ray.nodes() if node["Alive"]]
has = [(node["NodeManagerHostname"], *(node["Resources"].get(name) for name in ("CPU", "GPU"))) for node in alive]
print("nodes:", sorted(has))
"""
SECRETS = """stat -c %a-%n /tmp/segsweep-*
ps -ww -eo args > processes-$SLURM_JOB_ID
ss -ltnH > listening-$SLURM_JOB_ID
echo $RAY_AUTH_TOKEN > token-$SLURM_JOB_ID
"""


@pytest.fixture(scope="module")
def machine_names() -> Sequence[str]:
    return ("n1", "n2", "n3", LOGIN)


@pytest.fixture(scope="module")
def slurm(machines: Machines) -> Iterator[Slurm]:
    """A Slurm cluster on the module's machines."""
    require("sbatch", "slurmctld", "slurmd", "munged")
    with slurm_up(machines) as up:
        yield up


@pytest.fixture
def study(request: pytest.FixtureRequest, machines: Machines, ellipses: Path, boxes: Path) -> SmallStudy:
    """The small study in the test's own folder, with the Python environment where the job looks for it."""
    study = make_study(machines.shared / request.node.name, ellipses, boxes)
    (study.folder / ".venv").symlink_to(sys.prefix)
    return study


def submit(slurm: Slurm, folder: Path, *command: str, gpus: int = 0, nodes: int = 3, **variables: str) -> str:
    """Submit a study in its folder, as its user does."""
    options = ("--partition=low", f"--nodes={nodes}", f"--gpus-per-node={gpus}", "--cpus-per-task=1", "--time=60")
    return slurm.submit(*options, BATCH, *command, cwd=folder, **variables)


def log(study: SmallStudy, job: str) -> str:
    """Return the output of a job so far, over all its starts."""
    path = study.folder / f"segsweep-{job}.log"
    return path.read_text() if path.exists() else ""


def await_progress(study: SmallStudy, slurm: Slurm, job: str, epochs: int, finished: int = 0) -> None:
    """Wait until `epochs` more epochs of trials are recorded, and `finished` trials are finished."""
    wanted = study.epochs() + epochs

    def enough() -> bool:
        assert slurm.state(job) in ("PENDING", "RUNNING"), log(study, job)
        return study.epochs() >= wanted and (not finished or len(study.finished()) >= finished)

    wait_until(enough, f"{epochs} more epochs, {finished} trials finished", 5 * MINUTES, every=0.5)


@pytest.mark.timeout(20 * MINUTES)
def test_a_preempted_job_and_one_at_its_time_limit_continue(slurm: Slurm, study: SmallStudy, expected: pd.DataFrame) -> None:
    """A job of higher priority gets the nodes within the minute of grace, and the time limit ends the study in time. Each time
    the driver prints how to continue, Slurm requeues the job, and no finished work is repeated; the table equals the undisturbed
    one."""
    job = submit(slurm, study.folder, *COMMAND, **LASTING)
    await_progress(study, slurm, job, epochs=8)
    urgent = slurm.submit("--partition=high", "--nodes=3", "--exclusive", "--wrap", "hostname", cwd=study.folder)
    slurm.await_state(urgent, "COMPLETED")
    before = study.finished()
    assert slurm.job(job)["Restarts"] == "1"
    assert "Ray's head is gone" in log(study, job)
    assert log(study, job).count("To continue: python study.py --threads 1") == 1

    slurm.resume(job)
    await_progress(study, slurm, job, epochs=4, finished=2)
    hours, minutes, _ = (int(part) for part in slurm.job(job)["RunTime"].split(":"))
    slurm.run("scontrol", "update", f"JobId={job}", f"TimeLimit={60 * hours + minutes + 2}")  # less than the signal's 3 minutes
    slurm.await_state(job, "PENDING", seconds=3 * MINUTES)
    between = study.finished()
    assert slurm.job(job)["Restarts"] == "2"
    assert "the time limit is near" in log(study, job)
    assert log(study, job).count("To continue: python study.py --threads 1") == 2
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")

    slurm.resume(job)
    slurm.await_state(job, "COMPLETED", "FAILED", seconds=8 * MINUTES)
    assert slurm.state(job) == "COMPLETED", log(study, job)
    assert_whole(study, expected, {**before, **between})


@pytest.mark.timeout(20 * MINUTES)
def test_a_cancelled_study_continues_and_outlives_machines(
    slurm: Slurm, machines: Machines, study: SmallStudy, expected: pd.DataFrame
) -> None:
    """`scancel` ends the study with the line that states how to continue, and the job stays cancelled; submitted again, it
    continues. A machine without power costs only its own tasks, and the job continues; if it is the job's first machine, Slurm
    requeues the job. No finished work is repeated, and the table equals the undisturbed one."""
    job = submit(slurm, study.folder, *COMMAND, **LASTING)
    await_progress(study, slurm, job, epochs=8, finished=1)
    slurm.run("scancel", job)
    slurm.await_state(job, "CANCELLED")
    assert log(study, job).count("To continue: python study.py --threads 1") == 1
    before = study.finished()

    again = submit(slurm, study.folder, *COMMAND, **LASTING)
    await_progress(study, slurm, again, epochs=4)
    try:
        machines.power_off("n3")
        wait_until(lambda: "machines left: 2 workers now" in log(study, again), "the loss is noticed", 3 * MINUTES)
        assert slurm.job(again)["Restarts"] == "0"
        machines.power_off("n1")
        between = study.finished()
        slurm.await_state(again, "PENDING", seconds=4 * MINUTES)
    finally:
        for name in ("n1", "n3"):
            machines.power_off(name)
            machines.replace(name)
            slurm.start_daemon(name)
    slurm.resume(again)
    slurm.await_state(again, "COMPLETED", "FAILED", seconds=8 * MINUTES)
    assert slurm.state(again) == "COMPLETED", log(study, again)
    assert slurm.job(again)["Restarts"] == "1"
    assert slurm.state(job) == "CANCELLED"
    assert_whole(study, expected, {**before, **between})


def test_gpus_of_the_job_reach_ray_and_two_jobs_share_nodes(slurm: Slurm, machines: Machines, study: SmallStudy) -> None:
    """Ray on each node has the cores and GPUs that Slurm allocated to the job, whatever the machine has. Two jobs on the same
    nodes have separate clusters, in folders that only their owner can read and that are deleted at the end; no command line shows
    a token, dashboards listen only on 127.0.0.1, and a long TMPDIR works."""
    (study.folder / "nodes.py").write_text(NODES)
    folder = study.folder / ("long" * 25)
    folder.mkdir()
    command = ("sh", "-c", f"python nodes.py; {SECRETS}")
    jobs = {
        submit(slurm, study.folder, *command, gpus=gpus, nodes=2, TMPDIR=str(folder)): gpu for gpus, gpu in ((1, 1.0), (0, None))
    }
    for job, gpu in jobs.items():
        slurm.await_state(job, "COMPLETED", "FAILED", seconds=4 * MINUTES)
        text = log(study, job)
        assert slurm.state(job) == "COMPLETED", text
        assert f"nodes: {[('n1', 1.0, gpu), ('n2', 1.0, gpu)]}" in text
        assert f"700-/tmp/segsweep-{job}-0" in text
        token, listening, processes = (
            (study.folder / f"{name}-{job}").read_text() for name in ("token", "listening", "processes")
        )
        assert len(token.strip()) == 64
        assert token.strip() not in processes
        dashboard = 20001 + 10 * int(job)
        assert [line.split()[3] for line in listening.splitlines() if f":{dashboard} " in line] == [f"127.0.0.1:{dashboard}"]
    wait_until(lambda: not machines.run("n2", "ls", "/tmp").count("segsweep-"), "the folders are removed")
    wait_until(lambda: not machines.processes("n2", "raylet"), "Ray is gone")
