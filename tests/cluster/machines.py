"""Several machines on one computer, for tests: `machines.sh` as a Python object."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "machines.sh"
PROJECT = Path(__file__).parents[2]
MINUTES = 60  # in seconds
NETWORKS = 250  # 10.77.0 to 10.77.249: parallel test runs use different ones


@dataclass(frozen=True)
class Machines:
    """Machines by name, with one network.

    All machines see the folder `shared`, the project and its Python at the same paths. Everything else below /tmp, /srv, /dev/shm
    and /root is private to a machine, and is deleted with it. Commands run with the project's Python first in PATH.
    """

    names: Sequence[str]
    shared: Path
    network: str
    environment: Mapping[str, str] = field(repr=False)
    _started: list["subprocess.Popen[str]"] = field(default_factory=list, repr=False)

    def address(self, name: str) -> str:
        """Return a machine's IP address."""
        return f"{self.network}.{self.names.index(name) + 1}"

    def start(self, name: str, *command: str | Path, cwd: Path | None = None, **variables: str) -> "subprocess.Popen[str]":
        """Start a command on a machine, with additional environment `variables`; stdout and stderr share one pipe."""
        process = subprocess.Popen(
            [str(SCRIPT), "on", name, "env", f"--chdir={cwd or self.shared}", *map(str, command)],
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def run(
        self, name: str, *command: str | Path, cwd: Path | None = None, code: int = 0, timeout: float = 120, **variables: str
    ) -> str:
        """Run a command on a machine to its end, and return its output. Fails if its exit code is not `code`."""
        process = self.start(name, *command, cwd=cwd, **variables)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == code, f"{name}: {command}: exit code {process.returncode}\n{output}"
        return output

    def power_off(self, name: str) -> None:
        """End all processes of a machine at once, and delete its private files."""
        self._do("off", name)

    def replace(self, name: str) -> None:
        """Put a new machine, on which nothing runs, in place of a machine without power."""
        self._do("again", name)

    def cut(self, name: str) -> None:
        """Disconnect a machine's network cable."""
        self._do("cut", name)

    def heal(self, name: str) -> None:
        """Reconnect a machine's network cable."""
        self._do("heal", name)

    def processes(self, name: str, word: str) -> list[str]:
        """Return the command lines of a machine's processes that contain a word."""
        return [line for line in self.run(name, "ps", "-ww", "-eo", "args").splitlines() if word in line]

    def signal(self, name: str, word: str, number: int) -> None:
        """Send a signal to a machine's processes whose command line contains a word; processes of other machines are not visible
        there."""
        self.run(name, "pkill", f"-{number}", "-f", word)

    def down(self) -> None:
        """Remove the machines and the network, and close the pipes of started commands."""
        self._do("down")
        for process in self._started:
            with process:
                process.kill()

    def _do(self, *arguments: str) -> None:
        done = subprocess.run([str(SCRIPT), *arguments], env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"machines.sh {' '.join(arguments)}: {done.stderr}"


@contextmanager
def machines_up(names: Sequence[str], folder: Path) -> Iterator[Machines]:
    """Yield machines with these names on their own network; their shared folder is below `folder`."""
    shared = folder / "shared"
    shared.mkdir(parents=True)
    machines = _with_network(names, shared, folder / "run")
    try:
        yield machines
    finally:
        machines.down()


def _with_network(names: Sequence[str], shared: Path, run: Path) -> Machines:
    """Start machines on the first free network: the name of its bridge is unique on the computer."""
    errors = ""
    for number in random.sample(range(NETWORKS), NETWORKS):
        environment = _environment(shared, RUN=str(run), BRIDGE=f"seg{number}", NET=f"10.77.{number}")
        done = subprocess.run(
            [str(SCRIPT), "up", *names],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return Machines(names, shared, f"10.77.{number}", environment)
        errors = done.stderr
        if "File exists" not in errors:
            break
    raise AssertionError(f"machines.sh up: {errors}")


def _environment(shared: Path, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM", "SBATCH"))}
    folders = [shared.parent, PROJECT, Path(sys.prefix), Path(sys.base_prefix)]
    private = ("/tmp/", "/srv/", "/dev/shm/")  # /root is an overlay, through which its files are seen
    return {
        **kept,
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "HOME": "/root",
        "XDG_CACHE_HOME": "/root/.cache",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "SHARED": " ".join(str(each) for each in folders if str(each).startswith(private)),
        "OWNER": str(os.getpid()),
        **variables,
    }


def wait_until(true: Callable[[], object], what: str, seconds: float = 60, every: float = 0.2) -> None:
    """Wait until a condition holds; fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(every)


def require(*programs: str) -> None:
    """Skip the test if the user is not root, or a program is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for machines made of Linux namespaces")
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (see tests/cluster/README.md)")
