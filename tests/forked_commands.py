"""Commands in processes of their own that start at once: they fork from a server that has imported segsweep and torch.

A new interpreter needs five seconds for these imports. A forked process is a real one in all that the tests look at: it has a
process number, signals, pipes and an exit code, and ends as Python ends.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Thread

MODULES = ("segsweep.cli.study_command", "segsweep.sweep.run")
BYTES = 1 << 16  # limit of a request


class Command:
    """A running command, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, status: int, output: int, errors: int) -> None:
        self._status = status
        self.pid = self._number()
        self.stdout, self.stderr = (os.fdopen(pipe, encoding="utf-8") for pipe in (output, errors))
        self.returncode: int | None = None

    def _number(self) -> int:
        """Return the next number that the supervisor reports."""
        text = b""
        while not text.endswith(b"\n"):
            text += (read := os.read(self._status, 1))
            assert read, "the server has ended"
        return int(text)

    def poll(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of the command, and return its exit code; None if it has not ended within `timeout` seconds."""
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = self._number()
            os.close(self._status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end of the command, and return the rest of its output and errors.

        Raises `subprocess.TimeoutExpired` if it has not ended within `timeout` seconds.
        """
        texts: dict[str, str] = {}
        pipes = {"output": self.stdout, "errors": self.stderr}
        readers = [Thread(target=lambda name=name: texts.update({name: pipes[name].read()}), daemon=True) for name in pipes]
        for reader in readers:
            reader.start()
        if self.wait(timeout) is None:
            raise subprocess.TimeoutExpired("a forked command", timeout or 0)
        for reader in readers:
            reader.join()
        self.stdout.close()
        self.stderr.close()
        return texts["output"], texts["errors"]

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the command with -9."""
        self.send_signal(signal.SIGKILL)


class Forks:
    """Starts commands that fork from one server."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def start(self, script: Path, *arguments: str, **environment: str) -> Command:
        """Start a Python script in its own folder, with these arguments and further environment variables."""
        request = json.dumps({"script": str(script), "arguments": arguments, "environment": {**os.environ, **environment}})
        pipes = [os.pipe() for _ in range(3)]
        socket.send_fds(self._connection, [request.encode()], [writing for _, writing in pipes])
        for _, writing in pipes:
            os.close(writing)
        return Command(*(reading for reading, _ in pipes))


@contextmanager
def forks(*modules: str) -> Iterator[Forks]:
    """Within this context, run a server that has imported `modules` besides those of a study command."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, __file__, str(theirs.fileno()), *MODULES, *modules]
    server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()
    yield Forks(ours)
    ours.close()
    server.wait()


def serve(connection: socket.socket) -> dict[str, object]:
    """Return the next request, in a process that was forked for it. Exits once the tests have closed the connection."""
    supervisors: list[int] = []
    while True:
        message, pipes, _, _ = socket.recv_fds(connection, BYTES, 3)
        if not message:
            for supervisor in supervisors:
                os.waitpid(supervisor, 0)
            sys.exit()
        if (supervisor := os.fork()) == 0:
            connection.close()
            supervise(*pipes)
            return dict(json.loads(message))
        supervisors.append(supervisor)
        for pipe in pipes:
            os.close(pipe)


def supervise(status: int, output: int, errors: int) -> None:
    """Fork the command, to which this function returns. The process before the fork reports its number and its exit code."""
    if (pid := os.fork()) == 0:
        os.close(status)
        for pipe, standard in ((output, 1), (errors, 2)):
            os.dup2(pipe, standard)
            os.close(pipe)
        return
    os.close(output)
    os.close(errors)
    os.write(status, f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(status, f"{code}\n".encode())
    os._exit(0)


def execute(script: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Become the process of `python SCRIPT ARGUMENTS` in the script's folder."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells have their background jobs ignore
    os.chdir(Path(script).parent)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script, *arguments]
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    for module in sys.argv[2:]:
        import_module(module)
    gc.freeze()  # so that collections do not copy the imported modules' memory
    execute(**serve(socket.socket(fileno=int(sys.argv[1]))))  # type: ignore[arg-type]
