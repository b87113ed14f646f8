"""How every command ends: exit codes, one line for a mistake or a request to end, and one line while it starts."""

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

PIPE_CLOSED = 141  # 128 + SIGPIPE: as a shell reports a command whose reader has gone, for instance `| head`
UNAVAILABLE = 75  # sysexits.h's EX_TEMPFAIL: to be tried again later
INCOMPLETE = 1  # a cell without a result, a rehearsal that failed, a file that cannot be read; 0 is success


@contextmanager
def exit_codes(console: "Console", interrupted: Callable[[str], str]) -> Iterator[None]:
    """End with one line: a mistake with 2, a full disk or lost store with 75, a request to end (INT, TERM, HUP) with 130.

    `interrupted` returns the line of a request from its detail, which is empty where that was a signal.
    """
    with ending(lambda detail: console.print(interrupted(detail), soft_wrap=True)) as end, _mistakes(console):
        try:
            yield
            sys.stdout.flush()
        except BaseException as error:  # also what a library makes of an interruption
            end.leave(error)
            raise


@contextmanager
def _mistakes(console: "Console") -> Iterator[None]:
    """End with one line and the code of a mistake, of an environment in trouble, or of a reader that has gone."""
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
    """Return whether nobody reads stdout any more; what is still to be written there is then dropped."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLERR)
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def announce_start(console: "Console", imported: str = "torch") -> None:
    """Print one line before imports that take seconds; nothing where they are done already."""
    if "torch" not in sys.modules:
        console.print(f"segsweep {segsweep_version()}: starting (importing {imported}) ...", soft_wrap=True)
