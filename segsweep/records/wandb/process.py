"""The process beside a study's command that repeats attempts to send until everything is sent.

Run as `python -m segsweep.records.wandb.process STUDY`. Its standard input ends when the study's command ends for any reason.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from segsweep.errors import UserError
from segsweep.records.driver_lock import driver_alive
from segsweep.records.lines import declared
from segsweep.records.wandb.options import FOLDER, MirrorOptions
from segsweep.records.wandb.state import DONE, ENOUGH, LOCK, LOG, REFUSED, read_state, write_state

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 300.0
NICE = 10  # the study's own processes have priority
READY_SECONDS = 0.5
OF_ONE_RUN = ("RUN_ID", "RUN_GROUP", "NAME", "JOB_TYPE", "TAGS", "NOTES", "RESUME", "SWEEP_ID", "SWEEP_PARAM_PATH")
NOT_PASSED_ON = {f"WANDB_{name}" for name in (*OF_ONE_RUN, "MODE", "DISABLED", "SERVICE")}  # SERVICE: address of a running client

Notify = Callable[[Mapping[str, Any]], None]


def attend(folder: Path) -> None:
    """Run attempts while a study's command lives, and afterwards as long as they make progress."""
    os.nice(NICE)
    while not declared(folder):
        if _is_over(READY_SECONDS):
            return
    wait, over = FIRST_WAIT_SECONDS, False
    while (code := attempt(folder, follow=True)) not in (DONE, REFUSED):
        progress = read_state(folder)["newly"] > 0
        if over and not progress:
            return
        wait = FIRST_WAIT_SECONDS if progress else min(2 * wait, LONGEST_WAIT_SECONDS)
        over = over or _is_over(0 if code == ENOUGH else wait)


def sync(folder: Path, options: MirrorOptions, notify: Notify) -> Mapping[str, Any]:
    """Send what W&B lacks of a study, as long as attempts make progress, and return the final state (see `read_state`).

    First wait for a mirror that the study's command left running. `notify` receives the state every second.

    Raises:
        UserError: the study is running, so that its command mirrors it.
    """
    _wait_for_mirror(folder, notify)
    options.save(folder)
    while attempt(folder, follow=False, notify=notify) not in (DONE, REFUSED) and read_state(folder)["newly"] > 0:
        pass
    return read_state(folder)


def _wait_for_mirror(folder: Path, notify: Notify) -> None:
    (folder / FOLDER).mkdir(exist_ok=True)
    while True:
        try:
            with FileLock(folder / FOLDER / LOCK, timeout=1.0):
                return
        except Timeout:
            if driver_alive(folder):
                raise UserError(f"{folder}: is running, and its command sends it to W&B; wait until it ends") from None
            notify(read_state(folder))


def attempt(folder: Path, follow: bool, notify: Notify = lambda _: None) -> int:
    """Run one attempt to its end, kill processes that W&B's client leaves, and return the exit code."""
    write_state(folder, newly=0)
    command = [sys.executable, "-m", "segsweep.records.wandb.send", str(folder), *(["--follow"] if follow else [])]
    environment = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
    with (folder / FOLDER / LOG).open("a", encoding="utf-8") as log:
        stdin = None if follow else subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, env=environment, process_group=0)
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(timeout=1.0)
                notify(read_state(folder))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _is_over(seconds: float) -> bool:
    """Return whether the command has ended, or ends within `seconds`."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


if __name__ == "__main__":
    attend(Path(sys.argv[1]))
