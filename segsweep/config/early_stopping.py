"""Early-stopping rules as a study declares them or a command line names them; `segsweep.sweep.early_stopping` applies them."""

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

    A rung is an epoch `grace_epochs` * `reduction_factor`**k, k = 0, 1, ... At a rung a trial continues only if its reading
    (validation IoU, unless the setting `keep` names another measure) is among the best 1/`reduction_factor` of the readings that
    its cell has at that rung so far.

    Attributes:
        grace_epochs: First rung, in epochs; at least 1.
        reduction_factor: Inverse of the share of trials that continue at a rung; at least 2.

    Raises:
        UserError: a value is out of range or not a whole number.
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

    After `grace_epochs`, a trial stops when its best reading so far is below the median of the running averages of the other
    trials of its cell at the same epoch, once `min_trials` of them have reached that epoch.

    Attributes:
        grace_epochs: Epochs before the rule applies; at least 1.
        min_trials: Number of other trials that the median needs; at least 1.

    Raises:
        UserError: a value is out of range or not a whole number.
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

    After every epoch from `grace_epochs` on, a trial is compared with the other running or finished trials of its cell. It stops
    if another one was better at the same epoch by more than `margin` * (planned epochs / epoch) plus one standard error of the
    difference. "The same epoch" is the last epoch that both trials have reached; the rule compares the means of the last three
    readings up to it, as the choice of a setting does. The standard error of a reading is estimated from the second differences
    of the cell's readings; until there are five of them, the rule assumes `reading_error`. With the defaults a lead of 0.05 IoU
    decides after the first of ten epochs, a lead of 0.015 after the last.

    A stopped trial stops no other trial, so at least one trial of a cell finishes, unless it fails. If it fails, the stopped
    trials restart from scratch, the best one first, until one finishes; this holds for every rule.

    Attributes:
        margin: Lead in units of the measure that the setting `keep` names; at least 0.
        reading_error: Assumed standard deviation of one reading, in the same units; at least 0.
        grace_epochs: First epoch at which the rule applies; at least 1.

    Raises:
        UserError: a value is out of range, or `grace_epochs` is not a whole number.
    """

    margin: float = 0.003
    reading_error: float = 0.015
    grace_epochs: int = 1

    def __post_init__(self) -> None:
        _set_plain(self)
        if not (_is_positive(self.margin) and _is_positive(self.reading_error) and _is_count(self.grace_epochs, 1)):
            raise UserError(f"{self}: needs margin >= 0 and reading_error >= 0, and grace_epochs >= 1, a whole number")


def _set_plain(rule: object) -> None:
    """Convert the parameters of a rule to plain Python numbers."""
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

    Parameters that the text omits keep their defaults. Raises `UserError` for an unknown rule, an unknown parameter or a value
    out of range.
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
            raise UserError(f"early_stopping={text!r}: {part.strip()!r} is not a parameter NAME=NUMBER; allowed are {_allowed()}")
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
    """Return all rules with their parameters and default values, for error messages."""
    rules = [f"{name}({','.join(f'{f.name}={f.default}' for f in fields(rule))})" for name, rule in RULES.items()]
    return ", ".join([NO_STOPPING, *rules])
