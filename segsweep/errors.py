"""The exception for a user's mistakes, and what derives from it; those for lost artifacts and for an environment in trouble."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


def tell_without_traceback() -> None:
    """Have a user's mistake that nothing catches, as in a study file's own lines, end the process with one line."""
    before = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, UserError):
            sys.stderr.write(f"error: {error}\n")
        else:
            before(kind, error, trace)

    sys.excepthook = tell


class UserError(ValueError):
    """A mistake in a study, a command or a data set: shown as one line, without a traceback.

    The message names the field, file or node, the value, what is allowed, and what to do.
    """


class DataNotFoundError(UserError):
    """A known data set for which no folder was named or found: a plan can be made without it, a run cannot."""


class LostArtifactError(Exception):
    """An artifact that was expected in the store is missing or damaged: whoever asked for it has it built again."""

    def __init__(self, kind: str, key: str, reason: str) -> None:
        super().__init__(kind, key, reason)
        self.kind, self.key, self.reason = kind, key, reason

    def __str__(self) -> str:
        return f"{self.kind} {self.key}: {self.reason}"


class OutageError(Exception):
    """The environment keeps a study from going on, as a full disk does: nothing is lost, and the same command continues."""


def unknown(what: str, name: object, known: list[str] | tuple[str, ...]) -> UserError:
    """Return the error for a name that no table holds; it lists the names that exist."""
    return UserError(f"{what}: unknown name {str(name)!r}; known: {', '.join(known)}")


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
