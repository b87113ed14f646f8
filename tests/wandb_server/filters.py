"""The part of MongoDB's query language that the project's queries use, over a run as a plain mapping."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

Document = dict[str, Any]
ALIASES = {"display_name": "displayName", "job_type": "jobType", "created_at": "createdAt"}


class BadFilterError(ValueError):
    """A filter or an order uses an unsupported feature."""


def find(document: Document, path: str) -> Any:
    """Return the value of a run's field, `config.NAME[.value]` or `summary_metrics.NAME`; None if it is missing."""
    head, _, rest = path.partition(".")
    if head == "config":
        return walk(document["config"], rest.removesuffix(".value"))
    if head == "summary_metrics":
        return walk(document["summary"], rest)
    name = ALIASES.get(head, head)
    if rest or name not in document:
        raise BadFilterError(f"unknown filter key {path!r}")
    return document[name]


def walk(value: Any, path: str) -> Any:
    """Follow a dotted path. Keys that contain a dot are not found: W&B's server cannot filter on them either (wandb#3087)."""
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def compared(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    """Return a comparison that is false for missing values and for values of different types."""

    def holds(have: Any, want: Any) -> bool:
        try:
            return have is not None and bool(compare(have, want))
        except TypeError:
            return False

    return holds


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": compared(operator.gt),
    "$gte": compared(operator.ge),
    "$lt": compared(operator.lt),
    "$lte": compared(operator.le),
    "$in": lambda have, want: have in want,
    "$regex": compared(lambda have, want: re.search(want, have)),
}


def fits(have: Any, condition: Any) -> bool:
    """Return whether a value meets `{"$operator": value, ...}` or equals a plain condition; true does not equal 1."""
    if not isinstance(condition, dict):
        return bool(have == condition) and isinstance(have, bool) == isinstance(condition, bool)
    if unknown := condition.keys() - OPERATORS.keys():
        raise BadFilterError(f"unsupported operators {sorted(unknown)}")
    return all(OPERATORS[name](have, want) for name, want in condition.items())


def matches(document: Document, query: dict[str, Any]) -> bool:
    """Return whether a run meets every condition of a query."""
    return all(
        any(matches(document, each) for each in condition) if key == "$or" else fits(find(document, key), condition)
        for key, condition in query.items()
    )


def ordered(documents: Sequence[Document], order: str) -> list[Document]:
    """Sort by `+key` or `-key`; runs without the key come last, and equal ones keep their order."""
    values = [(find(each, order.lstrip("+-")), each) for each in documents]
    having = sorted((pair for pair in values if pair[0] is not None), key=lambda pair: pair[0], reverse=order.startswith("-"))
    return [each for _, each in having] + [each for value, each in values if value is None]
