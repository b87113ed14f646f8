"""Early stopping, as a study declares it or a command line names it. The rules are in `segsweep.sweep.early_stopping`."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from segsweep.config.plain import plain
from segsweep.errors import UserError

NO_STOPPING = "none"


@dataclass(frozen=True)
class PerCellASHA:
    """Asynchronous successive halving among the tuning trials of one cell (Li et al. 2020, arXiv:1810.05934).

    At `grace_epochs`, and at each multiple of it by `reduction_factor`, a trial goes on only if its reading (validation IoU,
    unless the setting `keep` says otherwise) is among the best 1/`reduction_factor` of its cell at that epoch so far.
    """

    grace_epochs: int = 1
    reduction_factor: int = 3

    def __post_init__(self) -> None:
        _set_plain(self)
        if not (_is_count(self.grace_epochs, 1) and _is_count(self.reduction_factor, 2)):
            raise UserError(f"{self}: needs grace_epochs >= 1 and reduction_factor >= 2, whole numbers")


@dataclass(frozen=True)
class PerCellMedian:
    """The median stopping rule among the tuning trials of one cell (Golovin et al. 2017, Vizier, section 3.2).

    After `grace_epochs`, a trial stops when its best reading so far is below the median of the running averages
    of its cell's other trials at the same epoch, once `min_trials` of them have got there.
    """

    grace_epochs: int = 1
    min_trials: int = 3

    def __post_init__(self) -> None:
        _set_plain(self)
        if not (_is_count(self.grace_epochs, 1) and _is_count(self.min_trials, 1)):
            raise UserError(f"{self}: needs grace_epochs >= 1 and min_trials >= 1, whole numbers")


@dataclass(frozen=True)
class PerCellRacing:
    """Racing among the tuning trials of one cell (after Maron and Moore 1994, "Hoeffding races").

    After every epoch from `grace_epochs` on, a trial stops when another trial of its cell, which is running or has finished, was
    better at the same epoch by more than `margin` times (planned epochs / epoch), and one standard error of that difference.
    "At the same epoch" means the last one that both have reached; compared are the means of the last three readings up to it, as
    in the choice of a setting. The error of a reading is estimated from the second differences of the cell's own readings; until
    there are five, `reading_error` (a standard deviation) is assumed. Both are in units of the measure that the setting `keep`
    names: with the defaults a lead of 0.05 IoU counts after the first of ten epochs, of 0.015 after the last. A trial that is
    stopped stops no other, so at least one trial of a cell finishes, unless it fails: under every rule the stopped trials then
    start anew, the best one first, until one finishes.
    """

    margin: float = 0.003
    reading_error: float = 0.015
    grace_epochs: int = 1

    def __post_init__(self) -> None:
        _set_plain(self)
        if not (_is_positive(self.margin) and _is_positive(self.reading_error) and _is_count(self.grace_epochs, 1)):
            raise UserError(f"{self}: needs margin >= 0 and reading_error >= 0, and grace_epochs >= 1, a whole number")


def _set_plain(rule: object) -> None:
    """Replace the parameters of a rule by plain numbers."""
    for name, value in list(vars(rule).items()):
        object.__setattr__(rule, name, plain(value))


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


EarlyStopping = PerCellASHA | PerCellMedian | PerCellRacing
RULES: Mapping[str, type[EarlyStopping]] = {"asha": PerCellASHA, "median": PerCellMedian, "racing": PerCellRacing}


def parse_early_stopping(text: str) -> EarlyStopping | None:
    """Return the rule that a text names: `none`, `asha`, or with parameters `asha(grace_epochs=2,reduction_factor=3)`.

    Parameters that are left out have their defaults. Raises `UserError` for an unknown rule or parameter and for wrong values.
    """
    if text.lower() == NO_STOPPING:
        return None
    called = re.fullmatch(r"(\w+)(?:\((.*)\))?", text)
    if called is None or called[1] not in RULES:
        raise UserError(f"early_stopping={text!r}: allowed are {_allowed()}")
    rule = RULES[called[1]]
    names = [field.name for field in fields(rule)]
    values: dict[str, Any] = {}
    for part in (called[2] or "").split(",") if (called[2] or "").strip() else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        number = _number(value)
        if not equals or name not in names or name in values or number is None:
            raise UserError(f"early_stopping={text!r}: {part.strip()!r} is no parameter NAME=NUMBER; allowed are {_allowed()}")
        values[name] = number
    try:
        return rule(**values)
    except UserError as error:
        raise UserError(f"early_stopping={text!r}: {error}") from None


def _number(text: str) -> int | float | None:
    try:
        return int(text) if re.fullmatch(r"[0-9]+", text, re.ASCII) else float(text)
    except ValueError:
        return None


def _allowed() -> str:
    """Return every rule with its parameters and their defaults."""
    rules = [f"{name}({','.join(f'{f.name}={f.default}' for f in fields(rule))})" for name, rule in RULES.items()]
    return ", ".join([NO_STOPPING, *rules])
