"""Exceptions: mistakes of the user, lost artifacts, and faults of the environment."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from traceback import walk_tb
from types import TracebackType

MISTAKE, INTERRUPTED = 2, 130  # exit codes
SHORT_TABLE = 16  # most names that an error message lists in full


def install_excepthook() -> None:
    """End the process with one line on stderr after an uncaught `UserError`, or Ctrl-C during imports.

    A mistake in a study file exits with code 2, like a mistake on the command line; Ctrl-C during the import of torch exits with
    130. An interactive session prints the line and continues.
    """
    before = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, UserError):
            _end(f"error: {error}", MISTAKE)
        elif isinstance(error, KeyboardInterrupt) and _importing(trace):
            _end("interrupted while starting", INTERRUPTED)
        else:
            before(kind, error, trace)

    sys.excepthook = excepthook


def _end(line: str, code: int) -> None:
    sys.stderr.write(f"{line}\n")
    if not (hasattr(sys, "ps1") or sys.flags.interactive):
        sys.exit(code)  # Python exits with this code, even from an excepthook


def _importing(trace: TracebackType | None) -> bool:
    """Return whether a traceback passes through the top level of an imported module."""
    modules = sum(frame.f_code.co_name == "<module>" for frame, _ in walk_tb(trace))
    return modules > 1


class UserError(ValueError):
    """A mistake in a study, a command or a dataset, printed as one line without a traceback.

    The message names the field, file or node, the value, the allowed values, and the remedy.
    """


class DataNotFoundError(UserError):
    """No folder is known for a dataset. A plan works without it, a run does not."""


class LostArtifactError(Exception):
    """An expected artifact is missing in the store, or `damaged`. The caller must have it rebuilt."""

    def __init__(self, kind: str, key: str, reason: str, damaged: bool = False) -> None:
        super().__init__(kind, key, reason, damaged)
        self.kind, self.key, self.reason, self.damaged = kind, key, reason, damaged

    def __str__(self) -> str:
        return f"{self.kind} {self.key}: {self.reason}"


class OutageError(Exception):
    """A fault of the environment such as a full disk stops a study. Nothing is lost; the same command continues it."""


def unknown(what: str, name: object, known: Sequence[str], listed_by: str = "") -> UserError:
    """Return the error for a name that is not in a table.

    A table of at most 16 names is listed in full. For a longer one the message lists the nearest names and `listed_by`, the
    command that prints all names.
    """
    beginning = f"{what}: unknown name {str(name)!r}"
    if len(known) <= SHORT_TABLE:
        return UserError(f"{beginning}; known: {', '.join(known)}")
    near = nearest(str(name), known)
    likely = f"nearest: {', '.join(near)}" if near else "no similar name"
    rest = f"all {len(known)}: {listed_by}" if listed_by else f"{len(known)} are known"
    return UserError(f"{beginning}; {likely}; {rest}")


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the names most similar to `name`: abbreviated by it (`lr`), different in few letters, or containing it."""
    by_lower = {each.lower(): each for each in reversed(list(known))}
    wanted, names = name.lower(), list(reversed(by_lower))
    abbreviated = [each for each in names if "".join(part[:1] for part in each.split("_")) == wanted]
    within = [each for each in names if len(wanted) > 2 and wanted in each]
    found = dict.fromkeys([*abbreviated, *get_close_matches(wanted, names, count), *within])
    return [by_lower[each] for each in found][:count]


@contextmanager
def disk_errors(option: str, folder: object, then: str) -> Iterator[None]:
    """Convert an `OSError` of a disk that is full, read-only or gone to a `UserError`.

    The message names `option` and `folder`, where the write failed, and `then`, the remedy.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not an error of the operating system
            raise
        raise UserError(f"{option}: {folder} cannot be written: {error.strerror}; {then}") from error
