"""The history of a run, written line by line and read in several ways."""

import json
import math
from collections.abc import Callable
from typing import Any

from wandb_server.nodes import Node
from wandb_server.store import Row, Store, now

HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"  # other files of the stream are ignored


def finite(value: Any) -> Any:
    """Return JSON data without NaN and infinity, which W&B writes as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list) else value


def receive(store: Store, run: Row, body: dict[str, Any]) -> dict[str, Any]:
    """Store a run's file stream: new lines, the whole summary, and whether the run has ended; until then it is running."""
    files = body.get("files") or {}
    if SUMMARY in files:
        store.write("UPDATE runs SET summary = ? WHERE number = ?", files[SUMMARY]["content"][-1], run["number"])
    if HISTORY in files:
        store.append(run["number"], files[HISTORY]["offset"], files[HISTORY]["content"])
    ended = ("failed" if body.get("exitcode") else "finished") if body.get("complete") else run["state"]
    store.write("UPDATE runs SET state = ?, heartbeatAt = ? WHERE number = ?", ended, now(), run["number"])
    return {}


def history_fields(store: Store, run: Row) -> Node:
    """Return the fields of a run with its history. The other streams that a resuming client requests are empty."""

    def lines() -> list[str]:
        return store.lines(run["number"])

    def rows(first: int = 0, end: int | None = None) -> list[Row]:
        """Return the history rows with steps in [first, end)."""
        found: list[Row] = [json.loads(line) for line in lines()]
        return [row for row in found if first <= row.get("_step", 0) < (math.inf if end is None else end)]

    def history(minStep: int = 0, maxStep: int | None = None, samples: int | None = None) -> list[str]:  # noqa: ARG001
        return [json.dumps(finite(row)) for row in rows(minStep, maxStep)]

    def parquet(liveKeys: list[str]) -> Node:  # noqa: ARG001
        return {"parquetUrls": [], "liveData": [{"_step": float(row.get("_step", 0))} for row in rows()[:1]]}

    return {
        "historyLineCount": lambda: len(lines()),
        "eventsLineCount": 0,
        "logLineCount": 0,
        "historyTail": lambda: json.dumps(lines()[-1:]),
        "eventsTail": "[]",
        "systemMetrics": "{}",
        "history": history,
        "historyKeys": lambda: {"lastStep": max((row.get("_step", 0) for row in rows()), default=-1)},
        "sampledHistory": lambda specs: [with_keys(rows, json.loads(each)) for each in specs],
        "parquetHistory": parquet,
    }


def with_keys(rows: Callable[[int, int | None], list[Row]], spec: dict[str, Any]) -> list[Row]:
    """Return the requested keys of the history rows that have all of them."""
    last = spec.get("maxStep")
    found = rows(spec.get("minStep", 0), None if last is None else last + 1)
    return [{key: finite(row[key]) for key in spec["keys"]} for row in found if all(key in row for key in spec["keys"])]
