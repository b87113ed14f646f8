"""The part of MongoDB's query language that `Api().runs` documents, over a run seen as a plain mapping."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

Document = dict[str, Any]
MISSING = object()
ALIASES = {
    "display_name": "displayName",
    "job_type": "jobType",
    "created_at": "createdAt",
    "heartbeat_at": "heartbeatAt",
    "updated_at": "updatedAt",
    "id": "name",
}


class BadFilterError(ValueError):
    """A filter or an order uses something outside the documented part."""


def find(document: Document, path: str) -> Any:
    """Return the value at a run's field, `config.NAME[.value]` or `summary_metrics.NAME`; MISSING where there is none."""
    head, _, rest = path.partition(".")
    if head == "config":
        value = walk(document["config"], rest)
        return walk(document["config"], rest.removesuffix(".value")) if value is MISSING else value
    if head in ("summary_metrics", "summaryMetrics"):
        return walk(document["summary"], rest)
    name = ALIASES.get(head, head)
    if rest or name not in document:
        raise BadFilterError(f"unknown filter key {path!r}")
    return document[name]


def walk(value: Any, path: str) -> Any:
    """Descend a dotted path. A key that itself has a dot is not found: W&B's own server cannot filter on one (wandb#3087)."""
    for part in path.split(".") if path else ():
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value


def equal(have: Any, want: Any) -> bool:
    """Compare as MongoDB does: null equals what is missing, a list equals each of its items, true is not 1."""
    if want is None:
        return have is MISSING or have is None
    if isinstance(have, list) and not isinstance(want, list):
        return any(equal(each, want) for each in have)
    return have is not MISSING and have == want and isinstance(have, bool) == isinstance(want, bool)


def compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return an order comparison that is false for missing values and for unlike types."""

    def holds(have: Any, want: Any) -> bool:
        try:
            return have is not MISSING and have is not None and compare(have, want)
        except TypeError:
            return False

    return holds


def like(have: Any, want: str) -> bool:
    """Tell whether a text, or any text of a list, has the pattern in it."""
    return any(isinstance(each, str) and re.search(want, each) for each in (have if isinstance(have, list) else [have]))


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": equal,
    "$ne": lambda have, want: not equal(have, want),
    "$gt": compared(operator.gt),
    "$gte": compared(operator.ge),
    "$lt": compared(operator.lt),
    "$lte": compared(operator.le),
    "$in": lambda have, want: any(equal(have, each) for each in want),
    "$nin": lambda have, want: not any(equal(have, each) for each in want),
    "$exists": lambda have, want: (have is not MISSING) is bool(want),
    "$regex": like,
    "$not": lambda have, want: not fits(have, want),
}


def fits(have: Any, condition: Any) -> bool:
    """Tell whether a value meets `{"$operator": value, ...}` or equals a plain condition."""
    if not (isinstance(condition, dict) and condition and all(key.startswith("$") for key in condition)):
        return equal(have, condition)
    if unknown := condition.keys() - OPERATORS.keys():
        raise BadFilterError(f"unsupported operators {sorted(unknown)}")
    return all(OPERATORS[name](have, want) for name, want in condition.items())


def matches(document: Document, query: dict[str, Any]) -> bool:
    """Tell whether a run meets every condition of a query."""
    return all(meets(document, key, condition) for key, condition in query.items())


def meets(document: Document, key: str, condition: Any) -> bool:
    """Tell whether a run meets one condition of a query."""
    if key == "$and":
        return all(matches(document, each) for each in condition)
    if key == "$or":
        return any(matches(document, each) for each in condition)
    if key == "$nor":
        return not any(matches(document, each) for each in condition)
    if key.startswith("$"):
        raise BadFilterError(f"unsupported operator {key!r}")
    return fits(find(document, key), condition)


def lacks(value: Any) -> bool:
    """Tell whether a value cannot be ordered, because it is missing or a mapping."""
    return value is MISSING or value is None or isinstance(value, dict)


def ordered(documents: Sequence[Document], order: str | None) -> list[Document]:
    """Sort by comma-separated terms `+key` or `-key`; runs without the key come last, equal ones keep their order."""
    result = list(documents)
    for term in reversed((order or "+created_at").split(",")):
        values = [(find(each, term.lstrip("+-")), each) for each in result]
        having = [pair for pair in values if not lacks(pair[0])]
        lacking = [each for value, each in values if lacks(value)]
        try:
            having.sort(key=lambda pair: pair[0], reverse=term.startswith("-"))
        except TypeError:
            having.sort(key=lambda pair: str(pair[0]), reverse=term.startswith("-"))
        result = [each for _, each in having] + lacking
    return result
