"""Machines that cannot work for a study are reported and excluded, at its start and when they join later."""

import re
from pathlib import Path

import pandas as pd
import pytest
from machines import MINUTES, Machines, wait_until
from small_study import make_study, measured

from segsweep.records import load

OPTIONS = ("--num-gpus=0", "--object-store-memory=100000000")


@pytest.fixture(scope="module")
def address(machines: Machines) -> str:
    """The address of a cluster with a head of two cores and a machine with one core; a third machine has not joined yet."""
    address = f"{machines.address('n1')}:6379"
    head = ("--head", f"--node-ip-address={machines.address('n1')}", "--port=6379", "--include-dashboard=false")
    machines.run("n1", "ray", "start", *head, "--num-cpus=2", *OPTIONS, RAY_AUTH_MODE="disabled")
    join(machines, "n2", address)
    return address


def join(machines: Machines, name: str, address: str) -> None:
    """Let a machine join the cluster."""
    options = (f"--address={address}", f"--node-ip-address={machines.address(name)}")
    machines.run(name, "ray", "start", *options, "--num-cpus=1", *OPTIONS, RAY_AUTH_MODE="disabled")


@pytest.mark.timeout(15 * MINUTES)
def test_machines_that_do_not_see_the_store_are_excluded(
    machines: Machines, address: str, expected: pd.DataFrame, ellipses: Path, boxes: Path
) -> None:
    """With a store on the head's private disk, the machine that is there at the start and the one that joins later are each
    reported once with the remedy, fail no trial, and the study ends on the head alone with the numbers of an undisturbed run."""
    study = make_study(machines.shared / "left-out", ellipses, boxes)
    options = ("--threads", "1", "--store", "/srv/store")
    driver = machines.start(
        "n1", "python", study.script, *options, cwd=study.folder, RAY_ADDRESS=address, RAY_AUTH_MODE="disabled"
    )
    opened = study.folder / "runs" / "small" / "driver.json"  # written after the running machines were checked
    wait_until(lambda: opened.exists() or driver.poll() is not None, "the study is open", 3 * MINUTES, every=0.05)
    join(machines, "n3", address)
    output, _ = driver.communicate(timeout=8 * MINUTES)
    assert driver.returncode == 0, output
    left_out = re.findall(
        r"node (\w+) is excluded: does not see the store /srv/store; put --store on a disk that all machines share", output
    )
    assert left_out == ["n2", "n3"], output
    records = load(study.folder / "runs" / "small")
    assert set(records.trials["status"]) == {"finished"}
    pd.testing.assert_frame_equal(measured(records), expected, check_exact=True)


@pytest.mark.timeout(10 * MINUTES)
def test_workers_that_train_together_avoid_excluded_machines(
    machines: Machines, address: str, ellipses: Path, boxes: Path
) -> None:
    """Two workers that train each model together run on the head, and so does the process that relays their messages, although
    the excluded machine has more free memory; nothing is postponed."""
    study = make_study(machines.shared / "together", ellipses, boxes)
    options = ("--threads", "1", "--store", "/srv/store-of-groups", "--workers-per-trial", "2", "--workers-per-stage", "2")
    script = ("python", study.script, *options)
    output = machines.run("n1", *script, cwd=study.folder, timeout=9 * MINUTES, RAY_ADDRESS=address, RAY_AUTH_MODE="disabled")
    assert "node n2 is excluded: does not see the store /srv/store-of-groups" in output
    assert "postponed" not in output
    assert set(load(study.folder / "runs" / "small").trials["status"]) == {"finished"}


@pytest.mark.timeout(5 * MINUTES)
def test_an_impossible_demand_is_rejected_alike_by_a_plan_and_a_run(
    machines: Machines, address: str, ellipses: Path, boxes: Path
) -> None:
    """Three cores, which no machine has, are rejected with the resources of each machine, in the same line by `--plan` and by a
    run."""
    study = make_study(machines.shared / "refused", ellipses, boxes)
    script = ("python", study.script, "--threads", "3", "--device", "cpu")
    output = machines.run("n1", *script, cwd=study.folder, code=2, RAY_ADDRESS=address, RAY_AUTH_MODE="disabled")
    assert re.search(r"error: --threads 3: no machine has 3 cores: (node n\d has \d cores?,? ?)+", output)
    plan = machines.run("n1", *script, "--plan", cwd=study.folder, code=2, RAY_ADDRESS=address, RAY_AUTH_MODE="disabled")
    assert [line for line in plan.splitlines() if "error:" in line] == [line for line in output.splitlines() if "error:" in line]
