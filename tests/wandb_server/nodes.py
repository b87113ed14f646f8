"""Nodes of responses: plain mappings whose values are data, or functions of a field's arguments."""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

Node = Mapping[str, Any]
Item = TypeVar("Item")


def identity(kind: str, number: int) -> str:
    """Return the opaque identity of an object for clients."""
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


def number_of(identity: str) -> int:
    """Return the number in an opaque identity."""
    return int(base64.b64decode(identity).split(b":")[1])


def connection(items: Sequence[Item], node: Callable[[Item], Node], after: str | None, first: int | None) -> dict[str, Any]:
    """Return the nodes of a page: `first` items after the cursor `after`; cursors count items."""
    start = int(after) if after else 0
    stop = len(items) if first is None else min(len(items), start + first)
    edges = [{"node": node(items[place]), "cursor": str(place + 1)} for place in range(start, stop)]
    page = {"__typename": "PageInfo", "endCursor": str(stop) if edges else None, "hasNextPage": stop < len(items)}
    return {"edges": edges, "totalCount": len(items), "pageInfo": page}
