"""The owner of the Ray head at the address that `ray start` left."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_head import fake_head

from segsweep.sweep.ray_runner import ownership as module
from segsweep.sweep.ray_runner.cluster import cluster_address, running_here
from segsweep.sweep.ray_runner.ownership import listeners

NOBODY = 65534
ELSEWHERE = "198.51.100.1"  # an address reserved for documentation
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="takes root, to act as another user")
needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="takes Linux, to see who listens")


@pytest.fixture
def left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write the address file that `ray start` leaves."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    return (tmp_path / "ray" / "ray_current_cluster").write_text


@contextmanager
def another_user() -> Iterator[None]:
    """Open sockets as another user."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def raylet(address: str, user: int) -> Iterator[None]:
    """Run a process that looks like a raylet of the head at an address."""
    command = ["raylet", "-c", "read line", f"--gcs-address={address}"]
    with subprocess.Popen(command, executable="/bin/sh", stdin=subprocess.PIPE, user=user) as process:
        yield
        process.kill()


@needs_root
@needs_proc
def test_another_users_head_at_the_address_of_a_dead_cluster_is_ignored(left_behind, monkeypatch) -> None:
    """Another user's head on the port of this user's dead one is used only if RAY_ADDRESS names it."""
    with another_user():
        head = fake_head()
        address = head.__enter__()
    try:
        left_behind(address)
        assert running_here() is None
        with raylet(address, user=os.getuid()):  # of the dead head; it ends a little later
            assert running_here() is None
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setattr("ray.is_initialized", lambda: False)  # other tests have attached this process
        assert cluster_address() == address
    finally:
        head.__exit__(None, None, None)


@needs_proc
@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("::1", "::1"),
        ("127.0.0.1", "localhost"),
    ],
)
def test_the_user_who_listens_is_found(bound: str, asked: str) -> None:
    """The kernel's tables have the user of a socket that listens at an address, however it is bound."""
    if ":" in bound and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with socket.socket(socket.AF_INET6 if ":" in bound else socket.AF_INET) as server:
        server.bind((bound, 0))
        address = f"{asked}:{server.getsockname()[1]}"
        assert listeners(address) == set()
        server.listen()
        assert listeners(address) == {os.getuid()}


@needs_proc
def test_listeners_at_other_addresses_are_ignored() -> None:
    """The same port of another address of this machine, and that of another machine, belong to others."""
    with socket.create_server(("127.0.0.2", 0)) as server:
        assert listeners(f"127.0.0.1:{server.getsockname()[1]}") == set()
    with socket.create_server(("", 0)) as server:
        assert listeners(f"{ELSEWHERE}:{server.getsockname()[1]}") == set()


@needs_proc
def test_a_connection_is_no_listener() -> None:
    """A connection that outlives its listener has the listener's port, but nothing answers there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address), server.accept()[0]:
            server.close()
            assert listeners(f"127.0.0.1:{address[1]}") == set()


def test_a_head_without_a_known_owner_needs_a_local_raylet(left_behind, monkeypatch) -> None:
    """A head on another machine is this user's cluster if a raylet of this user runs here for this head."""
    monkeypatch.setattr(module, "TABLES", ())
    with fake_head() as address:
        left_behind(address)
        assert running_here() is None
        with raylet(f"{ELSEWHERE}:6379", user=os.getuid()):
            assert running_here() is None
        with raylet(address, user=os.getuid()):
            assert running_here() == address


@needs_root
def test_a_raylet_of_another_user_makes_no_cluster(left_behind, monkeypatch) -> None:
    """Another user's raylet on this machine does not make the cluster this user's."""
    monkeypatch.setattr(module, "TABLES", ())
    with fake_head() as address, raylet(address, user=NOBODY):
        left_behind(address)
        assert running_here() is None
