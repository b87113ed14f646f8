"""`cluster/machines.yaml` on machines that are reached over ssh: up, a study as a job, stopped, continued, down."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import yaml
from machines import MINUTES, PROJECT, Machines, require, wait_until
from small_study import SmallStudy, assert_whole, make_study
from ssh import Ssh, ssh_up

LAPTOP, HEAD, WORKERS = "laptop", "n1", ("n2", "n3")
ADDRESS = "http://127.0.0.1:8265"
ASK = f"""
import urllib.error, urllib.request
try:
    urllib.request.urlopen("{ADDRESS}/api/version")
except urllib.error.HTTPError:
    pass
"""
NODES = "import ray; ray.init(); print(sorted(node['NodeManagerHostname'] for node in ray.nodes() if node['Alive']))"


@pytest.fixture(scope="module")
def machine_names() -> Sequence[str]:
    return (HEAD, *WORKERS, LAPTOP)


@pytest.fixture(scope="module")
def ssh(machines: Machines) -> Ssh:
    """Ssh daemons on all machines except the laptop."""
    require("sshd", "ssh", "ssh-keygen", "rsync")
    return ssh_up(machines, (HEAD, *WORKERS), LAPTOP)


@pytest.fixture(scope="module")
def config(machines: Machines, ssh: Ssh) -> Path:
    """The project's file with the values that a user edits."""
    values = yaml.safe_load((PROJECT / "cluster" / "machines.yaml").read_text())
    values["provider"].update(head_ip=machines.address(HEAD), worker_ips=[machines.address(name) for name in WORKERS])
    values["auth"] = {"ssh_user": "root", "ssh_private_key": str(ssh.key)}
    values["setup_commands"] = [each.replace("/shared/segsweep/.venv", sys.prefix) for each in values["setup_commands"]]
    for part in ("head", "worker"):
        name = f"{part}_start_ray_commands"
        values[name] = [
            each.replace("ray start", "ray start --num-cpus=1") for each in values[name]
        ]  # the machines share the computer's cores
    path = machines.shared / "machines.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def on_laptop(machines: Machines, *command: str, cwd: Path | None = None, code: int = 0) -> str:
    """Run a command of Ray on the laptop with the token, and return its output."""
    return machines.run(LAPTOP, *command, cwd=cwd, code=code, timeout=4 * MINUTES, RAY_AUTH_MODE="token", RAY_ADDRESS=ADDRESS)


def tunnel_is_open(machines: Machines) -> bool:
    """Return whether the dashboard answers on the laptop, even if it only requires a token."""
    process = machines.start(LAPTOP, "python", "-c", ASK)
    process.communicate()
    return process.returncode == 0


def submit(machines: Machines, study: SmallStudy, *options: str) -> str:
    """Submit the study from the laptop, with its folder as working folder and results on the shared disk."""
    command = ("python", "study.py", "--threads", "1", "--out", str(study.folder / "runs"))
    return on_laptop(
        machines, "ray", "job", "submit", *options, "--working-dir", ".", "--", *command, cwd=study.folder / "upload"
    )


def ray_processes(machines: Machines) -> list[str]:
    """Return the command lines of Ray's processes on all machines."""
    lines = [line for name in (HEAD, *WORKERS) for line in machines.processes(name, "ray")]
    return [line for line in lines if "/site-packages/ray/" in line or line.startswith("ray::")]


@pytest.mark.timeout(20 * MINUTES)
def test_a_study_on_ssh_machines_from_up_to_down(
    machines: Machines, config: Path, expected: pd.DataFrame, ellipses: Path, boxes: Path
) -> None:
    """`ray up` starts all machines of the file. A study that is submitted through the tunnel with the token, stopped and
    submitted again continues to the undisturbed table; without the token, nothing can be submitted. `ray down` leaves no Ray
    process."""
    machines.run(LAPTOP, "ray", "get-auth-token", "--generate")
    machines.run(LAPTOP, "ray", "up", "-y", config, timeout=4 * MINUTES)
    machines.start(LAPTOP, "ray", "dashboard", config)
    wait_until(lambda: tunnel_is_open(machines), "the tunnel is open", every=1)
    submit_nodes = ("ray", "job", "submit", "--", "python", "-c", NODES)
    wait_until(lambda: str([HEAD, *WORKERS]) in on_laptop(machines, *submit_nodes), "all machines are up", 3 * MINUTES, every=1)
    refused = machines.run(LAPTOP, *submit_nodes, code=1, RAY_AUTH_MODE="disabled", RAY_ADDRESS=ADDRESS)
    assert "Authentication required" in refused

    study = make_study(machines.shared / "study", ellipses, boxes)
    (study.folder / "upload").mkdir()
    study.script.rename(study.folder / "upload" / "study.py")
    submit(machines, study, "--no-wait", "--submission-id", "first")
    wait_until(lambda: study.epochs() >= 8 and study.finished(), "a trial is finished", 4 * MINUTES)
    on_laptop(machines, "ray", "job", "stop", "first")
    before = study.finished()
    log = on_laptop(machines, "ray", "job", "logs", "first")
    assert re.search("^interrupted; .*To continue: python study.py", log, re.MULTILINE), log
    text = submit(machines, study, "--submission-id", "second")
    assert "'second' succeeded" in text
    assert_whole(study, expected, before)

    on_laptop(machines, "ray", "down", "-y", str(config))
    wait_until(lambda: not ray_processes(machines), "Ray is gone from all machines", 2 * MINUTES)
