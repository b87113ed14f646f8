"""Exit codes of all commands, with one line per mistake or request to end, and the line that announces a slow start."""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from segsweep.cli.ending import ending
from segsweep.errors import MISTAKE, OutageError, UserError
from segsweep.store.faults import fault_of
from segsweep.version import segsweep_version

if TYPE_CHECKING:
    from rich.console import Console

PIPE_CLOSED = 141  # 128 + SIGPIPE: the code in a shell when the reader of the output has gone, for example `| head`
UNAVAILABLE = 75  # EX_TEMPFAIL of sysexits.h: a temporary failure, retry later
INCOMPLETE = 1  # a cell without a result, a failed rehearsal, a file that cannot be read; 0 is success


@contextmanager
def exit_codes(console: "Console", interrupted: Callable[[str], str]) -> Iterator[None]:
    """Within this context, print one line and exit: 2 for a mistake, 75 for a full disk or lost store, 130 for a request to end.

    Requests are the signals INT, TERM and HUP. `interrupted` returns the line for a request from its detail, which is empty for
    a signal.
    """
    with ending(lambda detail: console.print(interrupted(detail), soft_wrap=True)) as end, _mistakes(console):
        try:
            yield
            sys.stdout.flush()
        except BaseException as error:  # includes errors that libraries raise instead of an interruption
            end.leave(error)
            raise


@contextmanager
def _mistakes(console: "Console") -> Iterator[None]:
    """Within this context, print one line and exit for a mistake, a fault of the environment, or a closed output pipe."""
    try:
        yield
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        sys.exit(PIPE_CLOSED)
    except UserError as error:
        console.print(f"error: {error}", soft_wrap=True)
        sys.exit(MISTAKE)
    except OutageError as error:
        console.print(f"paused for too long: {error}", soft_wrap=True)
        sys.exit(UNAVAILABLE)
    except OSError as error:
        if (fault := fault_of(error)) is None:
            raise
        console.print(f"error: {fault}; everything so far is kept, and the same command continues", soft_wrap=True)
        sys.exit(UNAVAILABLE)


def _reader_is_gone() -> bool:
    """Return whether the reader of stdout has gone; if so, discard the remaining output."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLERR)
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def announce_start(console: "Console", imported: str = "torch") -> None:
    """Print one line before imports that take seconds, unless they are already done."""
    if "torch" not in sys.modules:
        console.print(f"segsweep {segsweep_version()}: starting (importing {imported}) ...", soft_wrap=True)
