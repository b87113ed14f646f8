"""Ray that segsweep starts: who can reach it, and the message if it does not start."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest
from neighbour import neighbour
from rich.console import Console

from segsweep.config import Study
from segsweep.errors import UserError
from segsweep.store.folder import FolderStore
from segsweep.sweep.options import Options
from segsweep.sweep.progress import PlainView
from segsweep.sweep.ray_runner import local_ray as module
from segsweep.sweep.ray_runner.authentication import lets_in
from segsweep.sweep.ray_runner.local_ray import ray_on_this_machine
from segsweep.sweep.runners import open_runner, runner_for_plan

HOST = """
import json, os, sys

import psutil, ray

from segsweep.sweep.ray_runner.cluster import cluster

before = dict(os.environ)
with cluster(print):
    worker = ray.remote(num_cpus=0)(lambda: (os.environ["GLOO_SOCKET_IFNAME"], ray.util.get_node_ip_address()))
    seen = ray.get(worker.remote())
    own = psutil.Process()
    every = [own, *own.children(recursive=True)]
    ports = [
        [each.laddr.ip, each.laddr.port, process.name()]
        for process in every
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    lines = [part for process in every for part in process.cmdline()]
    head, token = ray.get_runtime_context().gcs_address, os.environ["RAY_AUTH_TOKEN"]
    said = {"ports": ports, "head": head, "token": token, "worker": seen, "lines": lines, "process": os.getpid()}
    print(json.dumps(said), flush=True)
    sys.stdin.readline()
changed = {name: (before.get(name), os.environ.get(name)) for name in {*before, *os.environ}}
print(json.dumps({name: values for name, values in changed.items() if values[0] != values[1]}), flush=True)
"""
pytestmark = pytest.mark.timeout(150)  # a start takes 30 s on a busy machine
NEEDS = pytest.mark.skipif(os.getuid() != 0 or shutil.which("ip") is None, reason="needs root and `ip` for a network namespace")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict, Path]]:
    """The facts that a process with its own Ray reports, and its home folder; at the end its environment is clean."""
    home = tmp_path_factory.mktemp("home")
    dropped = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "GLOO_SOCKET_IFNAME", "PYTHONBREAKPOINT")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    place = Path(tempfile.mkdtemp(prefix="rl", dir="/tmp"))  # pytest's folders are too long for Ray
    environment |= {"HOME": str(home), "RAY_ADDRESS": "local", "RAY_TMPDIR": str(place)}
    command = [sys.executable, "-c", HOST]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield {**json.loads(process.stdout.readline()), "folder": place / f"segsweep-{os.getuid()}"}, home
        process.stdin.write("\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {}, "the environment is not restored"
        assert process.wait(60) == 0
    shutil.rmtree(place)


def test_every_port_is_on_the_loopback_interface(started: tuple[dict, Path]) -> None:
    """GCS, raylet, object manager, agents, dashboard, driver and workers listen only on 127.0.0.1, and workers know no other
    address of this machine."""
    said, _ = started
    assert {address.removeprefix("::ffff:") for address, _, _ in said["ports"]} == {"127.0.0.1"}
    names = " ".join(name for _, _, name in said["ports"])
    assert all(part in names for part in ("gcs_server", "raylet", "ray::Dash", "ray::Runt", "python", "ray::IDLE")), names
    assert said["worker"] == ["lo", "127.0.0.1"]


@NEEDS
def test_no_port_is_reached_from_another_network_namespace(started: tuple[dict, Path]) -> None:
    """Another machine, connected by a cable, is refused at every port of every address of this one; it does reach a port that
    listens on all interfaces."""
    said, _ = started
    ports = [port for _, port, _ in said["ports"]]
    with (
        socket.create_server(("0.0.0.0", 0)) as control,
        neighbour(f"rs{os.getpid() % 10**6}", "10.79.0.1", "10.79.0.2") as other,
    ):
        reached = other([*ports, control.getsockname()[1]])
        assert reached == [control.getsockname()[1]]


def test_without_the_token_there_is_no_access(
    started: tuple[dict, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this machine, the head rejects a missing or wrong token, and accepts the right one; so `ray status` is rejected."""
    said, _ = started
    assert not lets_in(said["head"])
    assert not lets_in(said["head"], "0" * 64)
    assert lets_in(said["head"], said["token"])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray = [str(Path(sys.executable).parent / "ray"), "status", "--address", said["head"]]
    refused = subprocess.run(ray, capture_output=True, text=True, check=False, timeout=50)
    assert refused.returncode != 0
    assert "Unauthenticated" in refused.stdout + refused.stderr


def test_web_servers_require_the_token(started: tuple[dict, Path]) -> None:
    """Dashboard and agents answer 401 without a token; none of Ray's web servers runs code or shows jobs without it."""
    said, _ = started
    pages = ("/api/jobs/", "/api/job_agent/jobs/", "/api/v0/actors", "/nodes?view=summary", "/get_or_create_runtime_env")
    answers = {(port, page): status(port, page) for _, port, _ in said["ports"] for page in pages}
    assert 401 in answers.values()
    assert 200 in [status(port, "/api/jobs/", said["token"]) for _, port, _ in said["ports"]]  # the dashboard, with the token
    served = {port for (port, _), code in answers.items() if code == 200}
    metrics = {port for port in served if "# HELP" in read(port, "/api/jobs/")}
    assert served == metrics  # Prometheus' pages can be read without a token, but not changed


def test_the_token_is_in_no_file_and_on_no_command_line(started: tuple[dict, Path]) -> None:
    """The token is neither in Ray's folder nor in a file of the home folder, and `ps` does not show it."""
    said, home = started
    assert not (home / ".ray").exists()
    assert not any(said["token"] in part for part in said["lines"])
    folder = said["folder"]
    files = [path for path in (folder / "r" / "session_latest").resolve().rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if said["token"].encode() in path.read_bytes()]
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be another user")
def test_another_user_of_the_machine_has_no_access(started: tuple[dict, Path]) -> None:
    """Another user can read neither the folder with Ray's sockets nor the environment with the token."""
    said, _ = started
    sockets = said["folder"] / "r" / "session_latest" / "sockets"
    assert (sockets / "raylet").is_socket()
    for private in (sockets / "raylet", Path(f"/proc/{said['process']}/environ")):
        look = subprocess.run(["cat", private], user=65534, env={"LC_ALL": "C"}, capture_output=True, text=True, check=False)
        assert "Permission denied" in look.stderr


def status(port: int, page: str, token: str = "") -> int | None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{page}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, HTTPException):
        return None  # speaks gRPC


def read(port: int, page: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=5) as answer:
        return str(answer.read(4096))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Make `ray.init` raise these errors in turn, then succeed; return a counter of its calls."""
    monkeypatch.delenv("RAY_GCS_SERVER_PORT", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")

    def fail(*errors: Exception) -> list[int]:
        calls: list[int] = []
        left = list(errors)

        def init(**_: object) -> None:
            calls.append(1)
            if left:
                raise left.pop(0)

        monkeypatch.setattr(module.ray, "init", init)
        return calls

    return fail


BUSY = "The current node timed out during startup. This could happen because some of the raylet failed to startup."


def test_a_start_that_times_out_is_tried_again(failing) -> None:
    """Once Ray's parts are in the page cache they start faster: one timeout leads to a second attempt, not to an error."""
    calls = failing(Exception(BUSY))
    with ray_on_this_machine():
        assert len(calls) == 2


@pytest.mark.parametrize(
    ("errors", "tries", "line"),
    [
        (
            [Exception(BUSY)] * 2,
            2,
            "did not answer within 30 s, in two attempts; wait until this machine has free cores and memory",
        ),
        ([RuntimeError("Failed to start GCS.  Last 1 lines\nof error files")] * 2, 2, "Failed to start GCS.  Last 1 lines; free"),
        ([OSError(28, "No space left on device")], 1, "No space left on device; free the missing resource"),
        ([ValueError("Invalid address port 99999")], 1, "Invalid address port 99999; "),
        ([KeyError()] * 2, 2, "KeyError; "),
    ],
)
def test_a_start_that_fails_is_one_line(failing, errors: list[Exception], tries: int, line: str) -> None:
    """Every error of Ray is one line with the remedy and the path of its logs, after a second attempt if that may help."""
    calls = failing(*errors)
    with pytest.raises(UserError, match=line) as refused, ray_on_this_machine():
        pass
    assert len(calls) == tries
    assert "\n" not in str(refused.value)
    assert "--runner inline. Logs of Ray: /tmp/segsweep-" in str(refused.value)


def test_a_taken_port_of_the_head_is_named(failing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user has chosen the port of the head: the line names the variable."""
    failing(*[RuntimeError("Failed to start GCS.")] * 2)
    monkeypatch.setenv("RAY_GCS_SERVER_PORT", "6379")
    with pytest.raises(UserError, match="port 6379 may be in use; unset RAY_GCS_SERVER_PORT"), ray_on_this_machine():
        pass


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [("RAY_TMPDIR", "/" + "x" * 99, "too long for Ray's sockets"), ("RAY_AUTH_MODE", "on", "unknown mode")],
)
def test_a_plan_reports_what_prevents_ray_from_starting(
    name: str, value: str, line: str, tiny_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan, which does not start Ray, prints the same line as the run."""
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv(name, value)
    store, view, lines = FolderStore(tmp_path / "store"), PlainView(Console()), []
    for opened in (runner_for_plan, open_runner):
        with pytest.raises(UserError, match=line) as refused, opened(Options(), tiny_study, store, view):
            pass
        lines.append(str(refused.value))
    assert lines[0] == lines[1]
