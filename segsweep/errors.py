"""The exception for a user's mistakes, and what derives from it; those for lost artifacts and for an environment in trouble."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from traceback import walk_tb
from types import TracebackType

MISTAKE, INTERRUPTED = 2, 130  # exit codes
SHORT_TABLE = 16  # names that an error lists whole


def install_excepthook() -> None:
    """Have a process end with one line where nothing catches a user's mistake or Ctrl-C during imports.

    So mistakes in a study file's own lines exit with 2, as those of its command line do, and Ctrl-C while torch is imported
    with 130. In an interactive session the line is printed and the session goes on.
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
        sys.exit(code)  # which Python obeys in an excepthook


def _importing(trace: TracebackType | None) -> bool:
    """Return whether a traceback goes through the top level of an imported module."""
    modules = sum(frame.f_code.co_name == "<module>" for frame, _ in walk_tb(trace))
    return modules > 1


class UserError(ValueError):
    """A mistake in a study, a command or a dataset: shown as one line, without a traceback.

    The message names the field, file or node, the value, what is allowed, and what to do.
    """


class DataNotFoundError(UserError):
    """A known dataset for which no folder was named or found: a plan can be made without it, a run cannot."""


class LostArtifactError(Exception):
    """An artifact that was expected in the store is missing or `damaged`: whoever asked for it has it built again."""

    def __init__(self, kind: str, key: str, reason: str, damaged: bool = False) -> None:
        super().__init__(kind, key, reason, damaged)
        self.kind, self.key, self.reason, self.damaged = kind, key, reason, damaged

    def __str__(self) -> str:
        return f"{self.kind} {self.key}: {self.reason}"


class OutageError(Exception):
    """The environment keeps a study from going on, as a full disk does: nothing is lost, and the same command continues."""


def unknown(what: str, name: object, known: Sequence[str], listed_by: str = "") -> UserError:
    """Return the error for a name that no table holds.

    A short table is listed whole. Of a long one the nearest names are listed, and `listed_by`, what prints them all.
    """
    beginning = f"{what}: unknown name {str(name)!r}"
    if len(known) <= SHORT_TABLE:
        return UserError(f"{beginning}; known: {', '.join(known)}")
    near = nearest(str(name), known)
    likely = f"nearest: {', '.join(near)}" if near else "none is like it"
    rest = f"all {len(known)}: {listed_by}" if listed_by else f"{len(known)} are known"
    return UserError(f"{beginning}; {likely}; {rest}")


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the names most like one: those that it abbreviates (`lr`), those with few other letters, those that contain it."""
    by_lower = {each.lower(): each for each in reversed(list(known))}
    wanted, names = name.lower(), list(reversed(by_lower))
    abbreviated = [each for each in names if "".join(part[:1] for part in each.split("_")) == wanted]
    within = [each for each in names if len(wanted) > 2 and wanted in each]
    found = dict.fromkeys([*abbreviated, *get_close_matches(wanted, names, count), *within])
    return [by_lower[each] for each in found][:count]


@contextmanager
def disk_errors(option: str, folder: object, then: str) -> Iterator[None]:
    """Raise `UserError` in place of what the system says of a disk that takes no more, or is gone.

    `option` and `folder` say what was written, `then` what to do.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # no error of the system
            raise
        raise UserError(f"{option}: {folder} cannot be written: {error.strerror}; {then}") from error
