"""Start of a study's mirror by the study's command, and the wait for it at the end. Does not import W&B's client."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from segsweep.records.driver_lock import driver_alive
from segsweep.records.lines import declared
from segsweep.records.wandb.account import check_key
from segsweep.records.wandb.options import FOLDER, MirrorOptions
from segsweep.records.wandb.state import LOG, STATE, read_state

LEAVE_SECONDS = 5.0  # wait for the mirror at the end of a study; after that it continues in the background


@contextmanager
def mirroring(study: Path, options: MirrorOptions, notify: Callable[[str], None]) -> Iterator[None]:
    """Mirror a study's records while the context lasts, and at the end report the mirror's progress through `notify`.

    The mirror is a separate process that reads the record files; if it or W&B fails, the study continues.

    Raises:
        UserError: no key for W&B's server is known.
    """
    if options.mode == "online":
        check_key()
    if options.mode == "off" or driver_alive(study):  # another command runs the study, and will refuse this one
        yield
        return
    options.save(study)
    (study / FOLDER / STATE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "segsweep.records.wandb.process", str(study)]
    with (study / FOLDER / LOG).open("a", encoding="utf-8") as log:
        mirror = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
    assert mirror.stdin is not None
    seconds = 0.0
    try:
        yield
        seconds = LEAVE_SECONDS
    finally:
        mirror.stdin.close()
        message = _leave(study, mirror, seconds, options.mode)
        if declared(study):
            notify(message)


def _leave(study: Path, mirror: "subprocess.Popen[bytes]", seconds: float, mode: str) -> str:
    """Wait at most `seconds` for the mirror to end, and return a message about its progress."""
    done, more, again = ("sent", "send", "") if mode == "online" else ("written", "write", " --wandb offline")
    later = f"{more} the rest with: segsweep wandb sync {study}{again}"
    try:
        mirror.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        mirror.returncode = 0  # detach it: Python would warn of a process that nobody waits for
        state = read_state(study)
        trouble = f"not all can be {done} yet ({state['trouble']}); " if state.get("trouble") else ""
        return f"W&B: {state.get('sent', 0)} runs {done}; {trouble}process {mirror.pid} continues; if it is killed, {later}"
    state = read_state(study)
    if state.get("done"):
        where = f"to {state['url']}" if state.get("url") else f"into {study / FOLDER}; to send them: segsweep wandb sync {study}"
        return f"W&B: {state['sent']} runs {done} {where}"
    return f"W&B: {state.get('sent', 0)} runs {done}, then: {state.get('trouble') or f'see {study / FOLDER / LOG}'}; {later}"
