"""The task of SkyPilot: its schema accepts it, and its script is run for its effect on each of two machines."""

import os
import subprocess
from pathlib import Path

import pytest
from cluster_files.repository import CLUSTER, INSTALL, load

FILE = CLUSTER / "skypilot.yaml"


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_skypilot_accepts_the_task(tmp_path, monkeypatch):
    """SkyPilot reads the task as two spot machines with a GPU each; a misspelt field, also a nested one, is rejected."""
    monkeypatch.setenv("HOME", str(tmp_path))  # SkyPilot creates folders there
    sky = pytest.importorskip("sky", reason=f"needs skypilot; {INSTALL}")
    task = sky.Task.from_yaml_config(load(FILE), secrets_overrides=[("RAY_AUTH_TOKEN", "a")])
    assert task.num_nodes == 2
    assert [(each.use_spot, each.accelerators) for each in task.resources] == [(True, {"L4": 1})]
    misspelt = load(FILE)
    misspelt["resources"]["use_spots"] = misspelt["resources"].pop("use_spot")
    for config, name in ((misspelt, "use_spots"), ({**load(FILE), "num_node": 2}, "num_node")):
        with pytest.raises(ValueError, match=name):
            sky.Task.from_yaml_config(config)


def run(folder: Path, rank: int, *, study_ends_with: int = 0, starts: int = 1) -> "subprocess.CompletedProcess[str]":
    """Run the task's script with programs that only log their calls; the head listens once it is started, or until `starts`."""
    programs = folder / "home" / "venv" / "bin"
    programs.mkdir(parents=True)
    calls = folder / "calls"
    calls.touch()
    notes = {
        "ray": f'echo "ray $*" >> {calls}; trap "exit 0" TERM; [ {rank} != 0 ] || while :; do sleep 0.1; done',
        "sleep": "exec /bin/sleep 0.05",
        "python": f'echo "$RAY_ADDRESS python $*" >> {calls}; exit {study_ends_with}',
    }
    for name, body in notes.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    script = load(FILE)["run"].replace(
        '(: < "/dev/tcp/$head/$port")', f"[ $(wc -l < {calls}) {'-gt 0' if rank == 0 else f'-lt {starts}'} ]"
    )
    machines = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NODE_RANK": str(rank), "SKYPILOT_NUM_GPUS_PER_NODE": "1"}
    environment = {**os.environ, **machines, "HOME": str(folder / "home"), "STUDY": "study.py --out runs"}
    ended = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=30)
    ended.stdout = calls.read_text()
    return ended


@pytest.mark.parametrize("code", [0, 75])
def test_the_first_machine_runs_the_study_beside_the_head(tmp_path, code):
    """Rank 0 starts the head on its address, runs the study, ends Ray with it and returns its exit code."""
    ended = run(tmp_path, 0, study_ends_with=code)
    assert ended.returncode == code
    head, study = ended.stdout.splitlines()
    assert head.startswith("ray start --head --node-ip-address=10.0.0.1 --port=6379 --dashboard-host=127.0.0.1 --num-gpus=1")
    assert study == "10.0.0.1:6379 python study.py --out runs"


@pytest.mark.parametrize("starts", [1, 2])
def test_other_machines_join_the_head_and_end_with_it(tmp_path, starts):
    """Rank 1 joins the head's address, retrying after a failure, and ends without a failure once the head no longer listens."""
    ended = run(tmp_path, 1, starts=starts)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "ray start --address=10.0.0.1:6379 --num-gpus=1 --block\n" * starts
