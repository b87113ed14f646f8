"""A study on a head without cores, whose autoscaler launches nodes on request: real Ray with its fake node provider."""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from machines import MINUTES, Machines, wait_until
from small_study import SmallStudy, assert_whole, make_study

HEAD = "n1"
HEAD_NODE = "f" * 51 + "00000"
SETTINGS = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_NODE,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_NODE,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}
NODES_OF_WORKERS = "for p in $(pgrep -x raylet); do grep -qz OVERRIDE_NODE_ID.*f00000 /proc/$p/environ || echo $p; done"


@pytest.fixture(scope="module")
def machine_names() -> Sequence[str]:
    return (HEAD,)


@pytest.fixture(scope="module")
def address(machines: Machines) -> Iterator[str]:
    """The address of a head without cores, whose autoscaler may launch three nodes with one core."""
    address = f"{machines.address(HEAD)}:6379"
    text = (Path(__file__).parent / "fake_autoscaler.yaml").read_text()
    config = machines.shared / "autoscaler.yaml"
    config.write_text(text.replace("ADDRESS", f'"{address}"').replace("HEAD_NODE", HEAD_NODE))
    options = ("--num-cpus=0", "--num-gpus=0", "--object-store-memory=100000000", "--include-dashboard=false")
    where = (f"--node-ip-address={machines.address(HEAD)}", "--port=6379", f"--autoscaling-config={config}")
    machines.run(HEAD, "ray", "start", "--head", *where, *options, RAY_AUTH_MODE="disabled", **SETTINGS)
    yield address
    machines.power_off(HEAD)


def worker_nodes(machines: Machines) -> list[str]:
    """Return the process ids of the running nodes that the autoscaler has launched, oldest first."""
    return machines.run(HEAD, "bash", "-c", NODES_OF_WORKERS).split()


def start(machines: Machines, address: str, study: SmallStudy, *options: str) -> "subprocess.Popen[str]":
    """Start the study's driver on the head."""
    variables = {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "disabled"}
    return machines.start(HEAD, "python", study.script, "--threads", "1", *options, cwd=study.folder, **variables)


@pytest.mark.timeout(20 * MINUTES)
def test_a_study_grows_loses_a_node_and_leaves_none(
    machines: Machines, address: str, expected: pd.DataFrame, ellipses: Path, boxes: Path
) -> None:
    """A study without workers requests nodes and uses them as they join; the tasks of a killed node continue on another; at the
    end all nodes leave, and every number is that of an undisturbed run."""
    study = make_study(machines.shared / "grows", ellipses, boxes)
    assert worker_nodes(machines) == []
    driver = start(machines, address, study, "--max-concurrent", "2")
    wait_until(lambda: len(worker_nodes(machines)) == 2 or driver.poll() is not None, "two nodes", 4 * MINUTES)
    begun = study.epochs()
    wait_until(lambda: study.epochs() >= begun + 6 or driver.poll() is not None, "six epochs", 5 * MINUTES)
    finished = study.finished()
    node = worker_nodes(machines)[0]
    machines.run(HEAD, "bash", "-c", f"kill -9 {node} $(pgrep -P {node})")
    output, _ = driver.communicate(timeout=10 * MINUTES)
    assert driver.returncode == 0, output
    assert "waiting for a machine with 1 core" in output
    assert re.search(r"machines joined: 2 workers now, 1 before", output)
    assert "machines left: 1 worker now, 2 before" in output
    assert re.search(r"postponed .*: its worker died: its node has died", output), output
    assert "Traceback" not in output
    assert_whole(study, expected, finished)
    wait_until(lambda: worker_nodes(machines) == [], "idle nodes leave", 2 * MINUTES)


@pytest.mark.timeout(5 * MINUTES)
def test_an_impossible_demand_is_reported_soon_and_rejected_in_time(
    machines: Machines, address: str, ellipses: Path, boxes: Path
) -> None:
    """Eight cores, which no node type has, give a warning within 20 s, and an error with the reason after the time limit; no data
    is prepared and no node is launched. A plan is printed at once and launches nothing either."""
    study = make_study(machines.shared / "infeasible", ellipses, boxes)
    since = time.monotonic()
    driver = start(machines, address, study, "--device", "cpu", "--threads", "8", "--wait-for-nodes", "0.5")
    assert driver.stdout is not None
    lines: list[str] = []
    for line in driver.stdout:
        lines.append(line)
        if "no machine type has these resources" in line:
            break
    asked = next(line for line in lines if "waiting for a machine with 8 cores" in line)
    waited = float(re.search(r"\((\d+\.?\d*) s of at most", lines[-1])[1])  # type: ignore[index]
    assert asked
    assert waited <= 20
    output, _ = driver.communicate(timeout=2 * MINUTES)
    assert driver.returncode == 2, output
    assert "error: a machine with 8 cores did not join within 30 s (--wait-for-nodes)" in output
    assert time.monotonic() - since < 120
    assert not (study.folder / "store" / "data").exists()
    assert worker_nodes(machines) == []
    plan = start(machines, address, study, "--plan")
    output, _ = plan.communicate(timeout=2 * MINUTES)
    assert plan.returncode == 0, output
    assert "finished trials of this plan are those for this machine" in output
    assert worker_nodes(machines) == []
