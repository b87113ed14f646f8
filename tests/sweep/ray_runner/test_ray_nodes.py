"""Several machines: separate Ray nodes on this one, one of which is killed during the study."""

import os
import subprocess
import sys
from collections.abc import Callable

import pandas as pd
import pytest
from study_scripts import Script, assert_whole

from segsweep.records import load

DRIVER = """
import runpy, sys, threading, time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

import segsweep
from segsweep.sweep.ray_runner.machines import living

study, folder = runpy.run_path(sys.argv[1])["study"], Path(sys.argv[1]).parent
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
others = [cluster.add_node(num_cpus=1) for _ in range(2)]
ray.init(address=cluster.address, log_to_driver=False)


def cores():
    return sorted(node["Resources"].get("CPU", 0) for node in living())


assert cores() == [0, 1, 1], living()


def lose_one():
    live = folder / "runs" / study.name / "live"
    while sum(path.exists() and path.read_text().count('"kind": "epoch"') for path in live.glob("*.jsonl")) < 4:
        time.sleep(0.02)
    cluster.remove_node(others[0], allow_graceful=False)


losing = threading.Thread(target=lose_one, daemon=True)
losing.start()
segsweep.run(study, out=folder / "runs", threads=1)
losing.join()
while len(living()) > 2:  # the study may be over before Ray has noticed
    time.sleep(0.2)
print("left:", cores())
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_killed_machine_costs_at_most_an_epoch(script: Callable[..., Script], undisturbed: pd.DataFrame) -> None:
    """Tasks run on two machines; when one is lost, its tasks resume on the other from the last epoch, and every number is that of
    an undisturbed run."""
    study = script()
    driver = study.path.parent / "driver.py"
    driver.write_text(DRIVER)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, str(driver), str(study.path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=270)
    assert done.returncode == 0, done.stderr
    assert "left: [0, 1.0]" in done.stdout.replace("0.0", "0")
    records = load(study.records)
    assert_whole(records, undisturbed)
    again = records.trials["starts"].sum() + records.stages["starts"].sum() - len(records.trials) - len(records.stages)
    assert again in (0, 1)  # none if the machine was lost between two tasks
