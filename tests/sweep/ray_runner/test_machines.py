"""The check whether a machine can work for a driver."""

from dataclasses import replace
from pathlib import Path

import pytest
import ray

from segsweep.errors import UserError
from segsweep.store.folder import FolderStore
from segsweep.sweep.ray_runner import machines as module
from segsweep.sweep.ray_runner.machines import MachineCheck, UnfitMachineError, elsewhere_than, open_machines, require_gpu


def test_a_machine_without_the_store_or_with_another_segsweep_is_unfit(tmp_path: Path) -> None:
    """Each problem is one line with the remedy; a machine that sees the store and has the version has none."""
    store, other = FolderStore(tmp_path / "store"), FolderStore(tmp_path / "other")
    with store.beacon() as beacon:
        check = MachineCheck(store, beacon, module.version("segsweep"))
        assert check.problem() is None
        assert "put --store on a disk that all machines share" in (replace(check, store=other).problem() or "")
        assert "but the driver has 99.0; install the driver's version" in (replace(check, version="99.0").problem() or "")


def test_the_test_cluster_is_described_and_passes(cluster: str, tmp_path: Path) -> None:  # noqa: ARG001
    """The test cluster has its configured resources, its one machine is this one, and all of it is free."""
    with open_machines(FolderStore(tmp_path / "store"), print) as machines:
        machines.check_all()
        (node,) = machines.nodes()
        assert (node.cpus, node.free_cpus, node.gpus) == (4, 4, 0)
        assert node.memory_gib > 1
        assert machines.excluded == ()


REMEDY = "put --store on a disk that all machines share"


class HiddenStore(FolderStore):
    """A store as seen by a machine that does not share the disk."""

    def sees(self, _: str) -> bool:
        """See no beacon."""
        return False


def test_every_other_machine_is_checked(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Each machine except the driver's answers for itself; if none is usable, all are named; a dead one is ignored."""
    (machine,) = module.living()
    name, identity = machine["NodeManagerHostname"], machine["NodeID"]
    monkeypatch.setattr(ray.get_runtime_context().__class__, "get_node_id", lambda _: "another")
    lines: list[str] = []
    with open_machines(FolderStore(tmp_path / "store"), lines.append) as machines:
        machines.check_all()
        assert machines.excluded == ()
        assert [line for line in lines if not line.startswith("checking whether")] == []  # printed on a busy machine
    lines.clear()
    with open_machines(HiddenStore(tmp_path / "store"), lines.append) as machines:
        with pytest.raises(UserError, match=f"node {name}: does not see the store"):
            machines.check_all()
        assert machines.excluded == (identity,)
        assert machines.nodes() == []
        assert lines == [f"node {name} is excluded: does not see the store {tmp_path / 'store'}; {REMEDY}"]
        machines.check_all()  # each is checked once
    gone = iter([[{**machine, "NodeID": "0" * 56}], []])
    monkeypatch.setattr(module, "living", lambda: next(gone))
    with open_machines(HiddenStore(tmp_path / "store"), lines.append) as machines:
        machines.check_all()
        assert machines.excluded == ()


def test_a_machine_is_excluded_once_and_not_used(cluster: str, tmp_path: Path) -> None:  # noqa: ARG001
    """An unfit machine is found by its id and its address, reported once, and avoided by Ray's scheduler."""
    lines: list[str] = []
    with open_machines(FolderStore(tmp_path / "store"), lines.append) as machines:
        (machine,) = module.living()
        identity = machine["NodeID"]
        assert machines.find(identity) == machines.find(machine["NodeManagerAddress"]) == identity
        assert machines.find("nowhere") is None
        for _ in range(2):
            machines.exclude(identity, "has no disk")
        assert lines == [f"node {machine['NodeManagerHostname']} is excluded: has no disk"]
        assert machines.nodes() == []
    group = ray.util.placement_group([{"CPU": 1}], bundle_label_selector=[elsewhere_than([identity])])
    assert not group.wait(1)
    ray.util.remove_placement_group(group)
    group = ray.util.placement_group([{"CPU": 1}], bundle_label_selector=[elsewhere_than(["0" * 56])])
    assert group.wait(10)
    ray.util.remove_placement_group(group)
    assert elsewhere_than([]) == {}


def test_a_worker_does_not_start_on_an_unfit_machine(cluster: str, tmp_path: Path) -> None:  # noqa: ARG001
    """The check of every worker names its machine, in the form that the driver recognises."""
    check = MachineCheck(HiddenStore(tmp_path / "store"), "beacon", module.version("segsweep"))
    identity = ray.get_runtime_context().get_node_id()
    with pytest.raises(UnfitMachineError, match=f"unfit machine {identity}: does not see the store"):
        check.require(None)
    with pytest.raises(UnfitMachineError, match=f"unfit machine {identity}: torch finds no GPU there"):
        require_gpu()


def test_a_slow_answer_does_not_exclude_a_machine(
    cluster: str,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine that has not answered in time may just be slow: it stays, its workers check again, and the wait is reported."""
    monkeypatch.setattr(ray.get_runtime_context().__class__, "get_node_id", lambda _: "another")
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.0)
    lines: list[str] = []
    with open_machines(FolderStore(tmp_path / "store"), lines.append) as machines:
        machines.check_all()
        assert machines.excluded == ()
        assert lines == ["checking whether 1 machine can run segsweep; each imports torch first"]
