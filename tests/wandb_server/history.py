"""What a run logged over time: its history, system events and console output, written line by line and read in several ways."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from wandb_server.nodes import Node
from wandb_server.store import Row, Store, now

STREAMS = {"wandb-history.jsonl": "history", "wandb-events.jsonl": "events", "output.log": "output"}
SUMMARY = "wandb-summary.json"

Item = TypeVar("Item")


def finite(value: Any) -> Any:
    """Return JSON data without NaN and infinity, which W&B spells as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list) else value


def sampled(items: Sequence[Item], samples: int | None) -> list[Item]:
    """Return at most so many items, evenly spread."""
    if not samples or len(items) <= samples:
        return list(items)
    return [items[place * len(items) // samples] for place in range(samples)]


def receive(store: Store, entity: str, project: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
    """Take a run's file stream: new lines, the whole summary, and whether the run has ended; until then it runs."""
    run = store.row("SELECT * FROM runs WHERE entity = ? AND project = ? AND name = ?", entity, project, name)
    if run is None:
        raise KeyError(f"run {entity}/{project}/{name} not found")
    for file, chunk in (body.get("files") or {}).items():
        if file == SUMMARY:
            store.write("UPDATE runs SET summary = ? WHERE number = ?", chunk["content"][-1], run["number"])
        else:
            store.append(run["number"], STREAMS[file], chunk["offset"], chunk["content"])
    code = body.get("exitcode")
    ended = ("failed" if code else "finished") if body.get("complete") else run["state"]
    update = "UPDATE runs SET state = ?, exitCode = ?, heartbeatAt = ? WHERE number = ?"
    store.write(update, ended, code, now(), run["number"])
    return {"exitcode": None, "limits": {}}


def history_fields(store: Store, run: Row) -> Node:
    """Return the fields of a run that tell of its streams."""
    number = run["number"]

    def lines(stream: str) -> list[str]:
        return store.lines(number, stream)

    def rows(first: int = 0, end: int | None = None) -> list[Row]:
        """Return the history rows whose step lies in [first, end)."""
        found: list[Row] = [json.loads(line) for line in lines("history")]
        return [row for row in found if first <= row.get("_step", 0) < (math.inf if end is None else end)]

    def history(minStep: int = 0, maxStep: int | None = None, samples: int | None = None) -> list[str]:
        return [json.dumps(finite(row)) for row in sampled(rows(minStep, maxStep), samples)]

    def parquet(liveKeys: list[str]) -> Node:  # noqa: ARG001
        return {"parquetUrls": [], "liveData": [{"_step": float(row.get("_step", 0))} for row in rows()[:1]]}

    return {
        "historyLineCount": lambda: len(lines("history")),
        "eventsLineCount": lambda: len(lines("events")),
        "logLineCount": lambda: len(lines("output")),
        "historyTail": lambda: json.dumps(lines("history")[-1:]),
        "eventsTail": lambda: json.dumps(lines("events")[-1:]),
        "systemMetrics": lambda: (lines("events") or ["{}"])[-1],
        "events": lambda samples=None: sampled(lines("events"), samples),
        "history": history,
        "historyKeys": lambda: keys_of(rows()),
        "sampledHistory": lambda specs: [with_keys(rows, json.loads(each)) for each in specs],
        "parquetHistory": parquet,
    }


def with_keys(rows: Callable[[int, int | None], list[Row]], spec: dict[str, Any]) -> list[Row]:
    """Return the asked keys of the history rows that have all of them."""
    last = spec.get("maxStep")
    found = rows(spec.get("minStep", 0), None if last is None else last + 1)
    whole = [row for row in found if all(key in row for key in spec["keys"])]
    return [{key: finite(row[key]) for key in spec["keys"]} for row in sampled(whole, spec.get("samples"))]


def keys_of(rows: Sequence[Row]) -> Node:
    """Return which keys a history has, with the types of their values, and its last step."""
    kinds: dict[str, Counter[str]] = {}
    for row in rows:
        for key, value in row.items():
            kind = "number" if isinstance(value, int | float) else "string" if isinstance(value, str) else "other"
            kinds.setdefault(key, Counter())[kind] += 1
    counts = {key: [{"type": kind, "count": count} for kind, count in counter.items()] for key, counter in kinds.items()}
    return {
        "sets": [],
        "lastStep": max((row.get("_step", 0) for row in rows), default=-1),
        "keys": {key: {"typeCounts": each} for key, each in counts.items()},
    }
