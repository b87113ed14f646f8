"""Cross-validation protocols: `5-fold`, and `5x2-fold` for five repetitions of two folds."""

import re
from dataclasses import dataclass

from segsweep.errors import UserError

FORM = r"(?:([1-9][0-9]?)x)?([1-9][0-9]*)-fold"


@dataclass(frozen=True)
class Folds:
    """A partition into `count` folds, each of them the test split once, repeated `repetitions` times with other partitions."""

    count: int
    repetitions: int = 1

    @property
    def numbers(self) -> range:
        """The numbers of all folds of all repetitions, starting at 1."""
        return range(1, self.repetitions * self.count + 1)

    def __str__(self) -> str:
        return f"{self.count} folds" + (f", repeated {self.repetitions} times" if self.repetitions > 1 else "")


def folds_of(protocol: str) -> Folds | None:
    """Return the folds that a protocol names; None if it names none. Raises `UserError` for fewer than two folds."""
    match = re.fullmatch(FORM, protocol)
    if match is None and re.fullmatch(r"[0-9x]+-?fold", protocol, re.IGNORECASE):
        raise UserError(f"protocol {protocol!r}: must be written '5-fold', or '5x2-fold' for 5 repetitions of 2 folds")
    if match is None:
        return None
    folds = Folds(int(match[2]), int(match[1] or 1))
    if folds.count < 2:
        raise UserError(f"protocol {protocol!r}: needs at least 2 folds: '5-fold', or '5x2-fold' (5 repetitions of 2 folds)")
    return folds
