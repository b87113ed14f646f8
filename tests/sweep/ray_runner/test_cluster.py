"""Finding a running cluster."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from fake_head import fake_head

from segsweep.errors import UserError
from segsweep.sweep.folders import absolute
from segsweep.sweep.ray_runner import cluster as module
from segsweep.sweep.ray_runner.cluster import cluster_address, running_here


@pytest.fixture
def left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write the address file that `ray start` leaves."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))

    def write(address: str) -> None:
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(address)

    return write


@pytest.mark.parametrize("token", [None, "any"])
def test_a_cluster_that_answers_is_found(left_behind, token: str | None) -> None:
    """The address that `ray start` left is used while a head answers there, whatever token it requires."""
    with fake_head(token) as address:
        left_behind(address)
        assert running_here() == address


def test_a_cluster_of_another_user_is_not_found(left_behind, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that another user of the machine left is not this user's cluster, although both use one folder."""
    with fake_head() as address:
        left_behind(address)
        monkeypatch.setattr(module.os, "getuid", lambda: 12345)
        assert running_here() is None


def test_another_server_at_the_address_of_a_dead_cluster_is_ignored(left_behind) -> None:
    """If another server uses the port of the address file, there is no cluster."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        left_behind(f"127.0.0.1:{server.server_port}")
        assert running_here() is None
        server.shutdown()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", ""])
def test_the_address_of_a_dead_cluster_is_ignored(left_behind, address: str) -> None:
    """If nothing answers, or the file is broken, there is no cluster; Ray itself would hang."""
    left_behind(address)
    assert running_here() is None


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001", "nonsense"])
def test_a_named_cluster_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """RAY_ADDRESS of a missing cluster is a one-line error, at once."""
    monkeypatch.setattr(module.ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=f"RAY_ADDRESS={address}: no Ray cluster answers there"):
        cluster_address()


def test_without_a_file_there_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine where `ray start` was never called there is no cluster."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert running_here() is None


def test_relative_paths_in_a_ray_job_lie_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder of a Ray job is deleted, so relative paths are below the home folder."""
    monkeypatch.chdir(tmp_path)
    assert absolute("runs") == tmp_path / "runs"
    assert absolute("/data/runs") == Path("/data/runs")
    package = tmp_path / "session" / "runtime_resources" / "working_dir_files" / "_ray_pkg_0123"
    package.mkdir(parents=True)
    monkeypatch.chdir(package)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert absolute("runs") == tmp_path / "home" / "segsweep" / "runs"
    assert absolute("~/x") == tmp_path / "home" / "x"
