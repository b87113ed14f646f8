"""The runner of parts: each in a separate process with a time limit, all within a budget."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gpu.parts import Part
from gpu.rows import Row, note, write_row
from gpu.table import write_table

TESTS = Path(__file__).parents[1]
LEAST_SECONDS = 10  # a part with less time is skipped
POLL_SECONDS = 0.1
LOG_TAIL = 6000  # characters kept of a part's output


@dataclass(frozen=True)
class Options:
    """Options of a run of the kit: device, size, number of parallel parts, and time in total."""

    out: Path
    device: str
    threads: int
    tiny: bool
    jobs: int
    seconds: float


@dataclass(frozen=True)
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    start: float
    end: float


def run_parts(parts: Sequence[Part], options: Options) -> None:
    """Run parts, and write their rows, the table and the log into the folder `out`.

    Parts that must run alone come last; the others run `jobs` at once.
    """
    end = time.monotonic() + options.seconds
    _run([part for part in parts if not part.alone], options, options.jobs, end)
    _run([part for part in parts if part.alone], options, 1, end)


def _run(parts: Sequence[Part], options: Options, jobs: int, end: float) -> None:
    waiting, running = list(parts), list[_Running]()
    while waiting or running:
        while waiting and len(running) < jobs:
            part = waiting.pop(0)
            if end - time.monotonic() < LEAST_SECONDS:
                write_row(options.out / "results.jsonl", part.name, Row("skipped", "the time was used up", "", "must run", False))
            else:
                running.append(_start(part, options, end))
        for each in [each for each in running if each.process.poll() is not None or time.monotonic() > each.end]:
            running.remove(each)
            _finish(each, options)
        time.sleep(POLL_SECONDS)
    write_table(options.out)


def command_of(part: Part, options: Options, end: float) -> list[str]:
    """Return the command that runs one part, which is stopped at `end`."""
    size = ["--tiny"] if options.tiny else []
    where = ["--device", options.device, "--threads", str(options.threads), "--out", str(options.out), "--end", str(end)]
    return [sys.executable, "-m", "gpu.part", part.name, *where, *size]


def _start(part: Part, options: Options, end: float) -> _Running:
    inherited = os.environ.get("PYTHONPATH")
    paths = [str(TESTS), str(TESTS.parent), *([inherited] if inherited else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if not part.alone and part.name != "determinism":  # "determinism" must set this variable itself
        environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # some parts start CUDA before they use the mode
    now = time.monotonic()
    end = min(end, now + part.seconds)
    log = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the part has ended
    process = subprocess.Popen(
        command_of(part, options, end),
        cwd=TESTS.parent,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    print(f"{part.name}: started", flush=True)
    return _Running(part, process, log, now, end)


def _finish(running: _Running, options: Options) -> None:
    """Stop a part that has run too long, and record how it ended."""
    name, results = running.part.name, options.out / "results.jsonl"
    late = running.process.poll() is None
    if late:
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
    seconds = time.monotonic() - running.start
    if late:
        write_row(results, name, Row("time limit", round(seconds, 1), "s", "in time", False))
    elif running.process.returncode:
        write_row(results, name, Row("exit code", running.process.returncode, "", "= 0", False))
    write_row(results, name, note("time of the part", round(seconds, 1), "s"))
    running.log.seek(0)
    text = running.log.read().decode(errors="replace")
    running.log.close()
    with (options.out / "log.txt").open("a", encoding="utf-8") as file:
        file.write(f"===== {name}\n{text[-LOG_TAIL:]}\n")
    write_table(options.out)
    print(f"{name}: {'stopped' if late else 'ended'} after {seconds:.1f} s", flush=True)
