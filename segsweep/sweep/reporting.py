"""The outputs of a run: the display on the console, and the log and status files in the study's folder."""

import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from rich.console import Console

from segsweep.errors import OutageError, UserError
from segsweep.records.driver_status import ENDED, FINISHED, INTERRUPTED
from segsweep.sweep.progress import PlainView, View, choose_view
from segsweep.sweep.status_view import StatusView
from segsweep.sweep.study_log import StudyLog
from segsweep.sweep.views import Views
from segsweep.version import segsweep_version

DATA_SECONDS = 60.0  # interval between the log's lines on the preparation of data


@contextmanager
def reporting(folder: Path, console: Console) -> Iterator[View]:
    """Yield the view of a run with records in `folder`. At the end, write how the run ended to the log and the status.

    The log contains the lines that a console without a terminal shows, and a line for every start and end. It includes the
    command's arguments; these contain no secrets, because keys come from the environment.
    """
    log = StudyLog(folder)
    lines = PlainView(Console(file=cast(IO[str], log), emoji=False, markup=False, highlight=False), DATA_SECONDS)
    status = StatusView(folder, log.open)
    lines.notify(_start_line())
    view = Views(choose_view(console), lines, status)
    state, reason = ENDED, None
    try:
        yield view
        state = FINISHED
    except KeyboardInterrupt:
        state = INTERRUPTED
        raise
    except BaseException as error:
        reason = str(error) if isinstance(error, UserError | OutageError) else f"{type(error).__name__}: {error}"
        raise
    finally:
        lines.notify(f"{state}: {reason}" if reason else state)
        status.end(state, reason)
        view.close()


def _start_line() -> str:
    """Return the log's line for a start: version, machine, process, time zone, folder and command."""
    command = shlex.join(sys.orig_argv)
    return (
        f"start of segsweep {segsweep_version()} on {socket.gethostname()}, process {os.getpid()} "
        f"(times of {time.strftime('UTC%z')}), in {Path.cwd()}: {command}"
    )
