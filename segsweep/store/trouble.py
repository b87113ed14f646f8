"""Errors of the environment, told from errors of the work: a full disk, a missing permission, a store that is gone."""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MARKER = Path("locks", "store")  # a file in every store that a study uses: an empty mount point does not have it
SPACE = "free some space there"
DISK = "see to the disk, or to the connection to it"
LEAVE = "give back the permission to read and write there"
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
    errno.EACCES: LEAVE,
    errno.EPERM: LEAVE,
}
IN_TEXTS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EROFS, errno.EACCES)
WORDS: Mapping[str, int] = {os.strerror(number): number for number in IN_TEXTS}  # as libraries quote them in their own errors
SHORT_WRITE = re.compile(
    r"\d+ requested and \d+ written|failed writing file|unexpected pos \d+ vs \d+"
)  # NumPy's and torch's words for a full disk


@dataclass(frozen=True)
class Trouble:
    """What keeps work from going on although nothing is wrong with it: `reason` says what and where, `remedy` what to do."""

    reason: str
    remedy: str

    @property
    def of_space(self) -> bool:
        """Whether there is too little space."""
        return self.remedy == SPACE

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


def trouble_of(error: BaseException, store: Path | None = None, where: Path | None = None) -> Trouble | None:
    """Return the trouble of the environment that an error means, None where it is an error of the work.

    Errors from which it was raised count too, since libraries wrap what the operating system says. Whatever fails while the
    store at `store` is gone fails for that. `where` is the folder to name where the error names no file; without it the store.
    """
    where = where or store
    for each in _chain(error):
        if isinstance(each, OSError) and (number := each.errno or 0) in REMEDIES:
            return _trouble(number, each.filename or where)
        if (found := trouble_in(str(each), where)) is not None:
            return found
    return None if store is None or is_there(store) else gone(store)


def trouble_in(text: str, where: Path | None = None) -> Trouble | None:
    """Return the trouble of which the text of an error speaks."""
    for words, number in WORDS.items():
        if words in text:
            return _trouble(number, where)
    return _trouble(errno.ENOSPC, where) if SHORT_WRITE.search(text) else None


def _trouble(number: int, where: object) -> Trouble:
    return Trouble(os.strerror(number) + (f": {where}" if where else ""), REMEDIES[number])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those from which it came, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def leave_marker(store: Path) -> None:
    """Leave the mark in a store by which it is known to be there."""
    (store / MARKER).parent.mkdir(exist_ok=True)
    (store / MARKER).touch()


def is_there(store: Path) -> bool:
    """Return whether a store that was marked is there: not moved, and its disk mounted and answering."""
    try:
        return (store / MARKER).is_file()
    except OSError:
        return False


def gone(folder: Path) -> Trouble:
    """Return the trouble that a store, or the folder of the records, is not where it was."""
    return Trouble(f"{folder} is gone", "bring it back, or mount its disk")
