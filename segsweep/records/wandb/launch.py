"""Starting a study's mirror from the study's command, and taking leave of it. Knows W&B's client only by its name."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from segsweep.errors import UserError
from segsweep.records.wandb.options import FOLDER, LOG, STATE, MirrorOptions, check_key, environment, read_state

LEAVE_SECONDS = 5.0  # for the mirror to end with the study; after that it goes on by itself


def check_client(options: MirrorOptions) -> None:
    """Raise `UserError` where W&B's client is not installed, or could not say who is sending."""
    if find_spec("wandb") is None:
        raise UserError("--wandb: the package wandb is not installed; run `pip install wandb`")
    if options.mode == "online":
        check_key()


@contextmanager
def mirroring(study: Path, options: MirrorOptions) -> Iterator[list[str]]:
    """Have a study's records mirrored while the context lasts. What is given holds lines to tell the user afterwards.

    The mirror is a process of its own: it reads the records' files, and whatever becomes of it or of W&B, the study goes on.
    Raises `UserError` where W&B could not know who is sending.
    """
    told: list[str] = []
    if options.mode == "off":
        yield told
        return
    check_client(options)
    options.keep(study)
    (study / FOLDER / STATE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "segsweep.records.wandb.process", str(study)]
    with (study / FOLDER / LOG).open("a", encoding="utf-8") as log:
        mirror = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment(), start_new_session=True
        )
    assert mirror.stdin is not None
    try:
        yield told
    finally:
        mirror.stdin.close()
        told.append(_leave(study, mirror))


def _leave(study: Path, mirror: "subprocess.Popen[bytes]") -> str:
    """Wait a moment for the mirror to end, and return what there is to say of it."""
    later = f"to send what is missing: segsweep wandb sync {study}"
    try:
        mirror.wait(timeout=LEAVE_SECONDS)
    except subprocess.TimeoutExpired:
        mirror.returncode = 0  # let go of it: Python would warn of a process that nobody waits for
        state = read_state(study)
        trouble = f"W&B does not take it yet ({state['trouble']}); " if state.get("trouble") else ""
        return f"W&B: {state.get('sent', 0)} runs sent; {trouble}process {mirror.pid} goes on; if it is ended, {later}"
    state = read_state(study)
    if state.get("done"):
        where = f" to {state['url']}" if state.get("url") else f" in {study / FOLDER}; `wandb sync` sends them"
        return f"W&B: {state['sent']} runs{where}"
    return f"W&B: {state.get('sent', 0)} runs sent, then: {state.get('trouble') or f'see {study / FOLDER / LOG}'}; {later}"
