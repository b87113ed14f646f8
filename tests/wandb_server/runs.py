"""Runs: created, resumed, changed, filtered and read by clients."""

import json
from functools import lru_cache
from typing import Any

from wandb_server.filters import Document, matches, ordered
from wandb_server.history import finite, history_fields
from wandb_server.nodes import Node, identity, number_of
from wandb_server.run_files import file_fields
from wandb_server.site import Site
from wandb_server.store import RUN, Row, now

COLUMNS = {
    "displayName": "displayName",
    "groupName": "groupName",
    "jobType": "jobType",
    "config": "config",
    "summary": "summaryMetrics",
    "state": "state",
}


def run_row(site: Site, entity: str, project: str, name: str) -> Row | None:
    """Return the stored run with a name."""
    return site.store.row(RUN, entity, project, name)


def numbered_run(site: Site, number: int | None) -> Row | None:
    """Return the stored run with a number."""
    return site.store.row("SELECT * FROM runs WHERE number = ?", number)


def upsert_run(site: Site, input_: dict[str, Any]) -> Node:
    """`upsertBucket`: a logging client gives a run's name and sets it running; `Api` gives an identity, and keeps the state."""
    changes = {column: input_[name] for column, name in COLUMNS.items() if input_.get(name) is not None}
    if input_.get("tags") is not None:
        changes["tags"] = json.dumps(input_["tags"])
    with site.store.lock:
        if input_.get("id") and not input_.get("name"):
            number, inserted = number_of(input_["id"]), False
        else:
            number, inserted = named_run(site, input_)
            changes.setdefault("state", "running")
        for column, value in {**changes, "heartbeatAt": now()}.items():
            site.store.write(f"UPDATE runs SET {column} = ? WHERE number = ?", value, number)
        row = numbered_run(site, number)
    assert row is not None
    return {"bucket": run_node(site, row), "inserted": inserted}


def named_run(site: Site, input_: dict[str, Any]) -> tuple[int, bool]:
    """Return the number of the run that a client names, and whether it is new."""
    names = (site.entity(input_.get("entityName")), input_["modelName"], input_["name"])
    row = run_row(site, *names)
    if row is not None:
        return int(row["number"]), False
    insert = "INSERT INTO runs (entity, project, name, displayName, createdAt) VALUES (?, ?, ?, ?, ?)"
    return site.store.write(insert, *names, names[2], now()), True


@lru_cache(maxsize=20_000)
def settings_of(config: str) -> dict[str, Any]:
    """Return a run's config for filters, as plain values. Cached, so callers must not change it."""
    return {key: each.get("value") if isinstance(each, dict) else each for key, each in json.loads(config).items()}


@lru_cache(maxsize=20_000)
def summary_of(summary: str) -> dict[str, Any]:
    """Return a run's summary. Cached, so callers must not change it."""
    return dict(json.loads(summary))


def document(row: Row) -> Document:
    """Return a run in the form that filters and orders use."""
    return {
        **{key: row[key] for key in ("name", "displayName", "jobType", "state", "createdAt")},
        "group": row["groupName"],
        "config": settings_of(row["config"]),
        "summary": summary_of(row["summary"]),
        "row": row,
    }


def found_runs(site: Site, entity: str, project: str, filters: str | None, order: str | None) -> list[Row]:
    """Return the stored runs of a project that match a filter, in order."""
    rows = site.store.rows("SELECT * FROM runs WHERE entity = ? AND project = ? ORDER BY number", entity, project)
    query = json.loads(filters or "{}")
    documents = [each for each in map(document, rows) if matches(each, query)]
    return [each["row"] for each in ordered(documents, order or "+created_at")]


def run_node(site: Site, row: Row) -> dict[str, Any]:
    """Return a run without its artifacts."""

    def own_config(keys: list[str]) -> str:
        own = settings_of(row["config"]).get("_wandb") or {}
        return json.dumps({key: value for key, value in own.items() if key in keys})

    return {
        "__typename": "Run",
        "id": identity("Run", row["number"]),
        **{key: row[key] for key in ("name", "displayName", "state", "config", "jobType", "createdAt", "heartbeatAt")},
        **dict.fromkeys(("notes", "description", "sweepName", "commit")),
        "project": lambda: site.project(row["entity"], row["project"]),
        "projectId": lambda: site.project(row["entity"], row["project"])["internalId"],
        "summaryMetrics": json.dumps(finite(summary_of(row["summary"]))),
        "tags": json.loads(row["tags"]),
        "group": row["groupName"],
        "user": {"name": site.user, "username": site.user},
        "readOnly": False,
        "wandbConfig": own_config,
        **history_fields(site.store, row),
        **file_fields(site, row),
    }
