"""Faults of the environment, in contrast to errors of a task: a full disk, a missing permission, a lost store."""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from segsweep.store.protocol import Store

SPACE = "free some space there"
DISK = "check the disk, and the connection to it"
PERMISSION = "restore the permission to read and write there"
REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EIO: DISK,
    errno.EREMOTEIO: DISK,
    errno.ESTALE: DISK,
    errno.ENOTCONN: DISK,
    errno.ENODEV: DISK,
    errno.ENXIO: DISK,
    errno.ETIMEDOUT: DISK,
    errno.EROFS: "make it writable again",
    errno.EACCES: PERMISSION,
    errno.EPERM: PERMISSION,
}
IN_TEXTS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EROFS, errno.EACCES)
WORDS: Mapping[str, int] = {os.strerror(number): number for number in IN_TEXTS}  # as libraries quote them in their errors
SHORT_WRITE = re.compile(
    r"\d+ requested and \d+ written|failed writing file|unexpected pos \d+ vs \d+"
)  # messages of NumPy and torch for a full disk


@dataclass(frozen=True)
class Fault:
    """A fault of the environment that stops correct work: `reason` states the fault and its place, `remedy` what to do."""

    reason: str
    remedy: str

    @property
    def is_out_of_space(self) -> bool:
        """Whether the disk or the quota is full."""
        return self.remedy == SPACE

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


def fault_of(error: BaseException, store: Store | None = None, folder: object = None) -> Fault | None:
    """Return the fault of the environment that caused an error; None if the error is one of the task.

    The causes and contexts of the error are searched too, since libraries wrap errors of the operating system. Any error while
    `store` is unreachable counts as its loss. `folder` is named in the fault if the error names no file; by default the store.
    """
    folder = folder or (store.location if store else None)
    for each in _chain(error):
        if isinstance(each, OSError) and (number := each.errno or 0) in REMEDIES:
            return _fault(number, each.filename or folder)
        if (found := fault_in(str(each), folder)) is not None:
            return found
    return None if store is None or store.is_reachable() else gone(store.location)


def fault_in(text: str, folder: object = None) -> Fault | None:
    """Return the fault that the text of an error names; None if it names none."""
    for words, number in WORDS.items():
        if words in text:
            return _fault(number, folder)
    return _fault(errno.ENOSPC, folder) if SHORT_WRITE.search(text) else None


def _fault(number: int, folder: object) -> Fault:
    return Fault(os.strerror(number) + (f": {folder}" if folder else ""), REMEDIES[number])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes or contexts, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def gone(location: object) -> Fault:
    """Return the fault for a store, or a folder of records, that no longer exists at its location."""
    return Fault(f"{location} is gone", "restore it, or mount its disk")
