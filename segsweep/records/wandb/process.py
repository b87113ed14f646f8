"""The process beside a study's command that keeps attempts to send going until all is sent or the study is over.

Run as `python -m segsweep.records.wandb.process STUDY`; its standard input ends when the command ends, however it does.
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
NICE = 10  # the study's own work goes first
READY_SECONDS = 0.5
OF_ONE_RUN = ("RUN_ID", "RUN_GROUP", "NAME", "JOB_TYPE", "TAGS", "NOTES", "RESUME", "SWEEP_ID", "SWEEP_PARAM_PATH")
NOT_PASSED_ON = {f"WANDB_{name}" for name in (*OF_ONE_RUN, "MODE", "DISABLED", "SERVICE")}  # SERVICE: a client that runs already

Notify = Callable[[Mapping[str, Any]], None]


def attend(folder: Path) -> None:
    """Have attempts follow a study until its command has ended, and then send the rest, as long as that gets on."""
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
    """Send what W&B does not have of a study, as long as that gets on, and return how it ended (see `read_state`).

    What the study's own command has left sending is waited for. `notify` is called every second with how far it has come.
    Raises `UserError` where the study runs and its command mirrors it.
    """
    _wait_for_mirror(folder, notify)
    options.keep(folder)
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
    """Run one attempt to its end, remove what W&B's client leaves running, and return its exit code."""
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
    """Return whether the command has ended, or ends within some seconds."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


if __name__ == "__main__":
    attend(Path(sys.argv[1]))
