"""Finding a cluster, and checking its machines."""

import socket
from pathlib import Path

import pytest

from segsweep.errors import UserError
from segsweep.store.folder import FolderStore
from segsweep.sweep.folders import absolute
from segsweep.sweep.ray_runner import cluster as module
from segsweep.sweep.ray_runner.cluster import check_nodes, cluster_address, nodes, problem_with, running_here


@pytest.fixture
def left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write the address that `ray start` leaves."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))

    def write(address: str) -> None:
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(address)

    return write


def test_a_cluster_that_answers_is_found(left_behind) -> None:
    """The address that `ray start` left is used while something listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        left_behind(address)
        assert running_here() == address


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", ""])
def test_the_address_of_a_dead_cluster_is_passed_over(left_behind, address: str) -> None:
    """Where nothing answers, or the file is broken, there is no cluster; Ray itself would hang."""
    left_behind(address)
    assert running_here() is None


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001", "nonsense"])
def test_a_named_cluster_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """RAY_ADDRESS of a cluster that is not there is one line, at once."""
    monkeypatch.setattr(module.ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=f"RAY_ADDRESS={address}: no Ray cluster answers there"):
        cluster_address()


def test_without_a_file_there_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine where `ray start` was never called there is no cluster."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert running_here() is None


def test_a_machine_without_the_store_or_with_another_segsweep_says_so(tmp_path: Path) -> None:
    """Each problem is one line that says what to do; a machine that sees the store and has the version has none."""
    store, other = FolderStore(tmp_path / "store"), FolderStore(tmp_path / "other")
    with store.beacon() as beacon:
        assert problem_with(store, beacon, module.version("segsweep")) is None
        assert "put --store on a disk that all nodes share" in (problem_with(other, beacon, module.version("segsweep")) or "")
        assert "the driver 99.0; install the same" in (problem_with(store, beacon, "99.0") or "")


def test_the_cluster_at_hand_is_described_and_passes(cluster: str, tmp_path: Path) -> None:
    """The test cluster is the one at hand, offers what it was given, and its one machine is this one."""
    assert cluster_address() == cluster
    (node,) = nodes()
    assert node.cpus == 4
    assert node.memory_gib > 1
    check_nodes(FolderStore(tmp_path / "store"))


def test_every_other_machine_is_asked(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """On a cluster of several machines each answers; one that does not see the store is named."""
    (machine,) = module.living()
    monkeypatch.setattr(module, "living", lambda: [machine, machine])
    check_nodes(FolderStore(tmp_path / "store"))

    class Hidden(FolderStore):
        def sees(self, _: str) -> bool:
            """As on a machine that does not share the disk."""
            return False

    with pytest.raises(UserError, match=f"node {machine['NodeManagerHostname']}: does not see the store"):
        check_nodes(Hidden(tmp_path / "store"))


def test_relative_paths_in_a_ray_job_lie_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder of a Ray job is thrown away: relative paths are below the home folder then."""
    monkeypatch.chdir(tmp_path)
    assert absolute("runs") == tmp_path / "runs"
    assert absolute("/data/runs") == Path("/data/runs")
    package = tmp_path / "session" / "runtime_resources" / "working_dir_files" / "_ray_pkg_0123"
    package.mkdir(parents=True)
    monkeypatch.chdir(package)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert absolute("runs") == tmp_path / "home" / "segsweep" / "runs"
    assert absolute("~/x") == tmp_path / "home" / "x"
