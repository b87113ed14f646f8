"""Artifacts as clients read them: versions of a collection, their aliases, files, and the runs that made and used them."""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

from wandb_server.nodes import Node, connection, identity
from wandb_server.runs import numbered_run, run_node
from wandb_server.site import Site
from wandb_server.store import Row

PREFIX = "artifact/"
VERSIONS = "SELECT * FROM artifacts WHERE entity = ? AND project = ? AND collection = ? AND state = 'COMMITTED' "


def numbered_artifact(site: Site, number: int) -> Row:
    """Return the stored artifact with a number."""
    return site.store.one("SELECT * FROM artifacts WHERE number = ?", number)


def content_url(site: Site, digest: str, collection: str, name: str) -> str:
    """Return the address of a file's content; collection and name only make the address readable."""
    return site.url(f"{PREFIX}{digest}") + f"?name={quote(f'{collection}/{name}')}"


def manifest(site: Site, row: Row) -> dict[str, Any]:
    """Return the digests and sizes of an artifact's files by name."""
    path = site.store.blob(row["manifest"]) if row["manifest"] else None
    found: dict[str, Any] = json.loads(path.read_text())["contents"] if path and path.exists() else {}
    return found


def collection_node(site: Site, entity: str, project: str, name: str) -> Node:
    """Return the versions of a collection."""
    member = partial(membership, site, entity, project)
    return {"__typename": "ArtifactSequence", "artifactMembership": lambda aliasName: member(f"{name}:{aliasName}")}


def sequence(site: Site, row: Row) -> dict[str, Any]:
    """Return the collection of an artifact as a node of the artifact."""
    newest = site.store.row(VERSIONS + "ORDER BY version DESC", row["entity"], row["project"], row["collection"])
    return {
        "__typename": "ArtifactSequence",
        "name": row["collection"],
        "project": site.project(row["entity"], row["project"]),
        "latestArtifact": {"id": identity("Artifact", newest["number"])} if newest else None,
    }


def artifact_node(site: Site, row: Row) -> dict[str, Any]:
    """Return one version of a collection."""
    contents, collection = manifest(site, row), sequence(site, row)
    alias = {"__typename": "ArtifactAlias", "id": identity("Alias", row["number"]), "artifactCollection": collection}
    names = site.store.rows("SELECT alias FROM aliases WHERE artifact = ? ORDER BY alias", row["number"])
    kept_manifest = {"id": identity("Manifest", row["number"]), "file": {"directUrl": site.url(row["manifest"] or "")}}
    return {
        "__typename": "Artifact",
        "id": identity("Artifact", row["number"]),
        **{key: row[key] for key in ("state", "digest", "metadata", "createdAt")},
        **dict.fromkeys(("description", "historyStep", "updatedAt")),
        "artifactSequence": collection,
        "versionIndex": row["version"],
        "artifactType": {"name": row["type"]},
        "ttlDurationSeconds": -2,
        "ttlIsInherited": True,
        "tags": [],
        "size": sum(each.get("size") or 0 for each in contents.values()),
        "fileCount": len(contents),
        "commitHash": f"{row['number']:040x}",
        "aliases": [{**alias, "alias": each["alias"]} for each in names],
        "currentManifest": kept_manifest if row["manifest"] else None,
        "files": files_of(site, row, contents),
        **lineage_fields(site, row),
    }


def files_of(site: Site, row: Row, contents: dict[str, Any]) -> Callable[..., Node]:
    """Return the field of an artifact with the addresses of its files."""

    def file(name: str, entry: dict[str, Any]) -> Node:
        url = content_url(site, entry["digest"], row["collection"], name)
        named = {"__typename": "File", "id": identity("File", 1), "name": name, "url": url, "directUrl": url}
        return {**named, "md5": entry["digest"], "sizeBytes": entry["size"], **dict.fromkeys(("mimetype", "updatedAt"))}

    def files(names: list[str] | None = None, after: str | None = None, first: int | None = 50) -> Node:
        wanted = [name for name in contents if not names or name in names]
        return connection(wanted, lambda name: file(name, contents[name]), after, first)

    return files


def lineage_fields(site: Site, row: Row) -> Node:
    """Return the fields of an artifact with the runs that made and used it."""

    def created_by() -> Node | None:
        run = numbered_run(site, row["run"])
        return run and run_node(site, run)

    def used_by() -> Node:
        runs = "SELECT runs.* FROM runs JOIN uses ON uses.run = runs.number WHERE uses.artifact = ? ORDER BY runs.number"
        return {"edges": [{"node": run_node(site, run)} for run in site.store.rows(runs, row["number"])]}

    return {"createdBy": created_by, "usedBy": used_by}


def membership(site: Site, entity: str, project: str, name: str) -> Node | None:
    """Return the artifact `collection:alias`, `collection:vN` or `collection`, as a member of its collection."""
    collection, _, alias = name.partition(":")
    aliased = "SELECT artifacts.* FROM artifacts JOIN aliases ON aliases.artifact = artifacts.number WHERE "
    wanted = "aliases.entity = ? AND aliases.project = ? AND aliases.collection = ? AND aliases.alias = ?"
    row = site.store.row(aliased + wanted, entity, project, collection, alias or "latest")
    if row is None and re.fullmatch(r"v\d+", alias):
        row = site.store.row(VERSIONS + "AND version = ?", entity, project, collection, int(alias[1:]))
    if row is None:
        return None
    artifact = artifact_node(site, row)
    return {
        "__typename": "ArtifactCollectionMembership",
        "id": identity("Membership", row["number"]),
        "versionIndex": row["version"],
        "createdAt": row["createdAt"],
        "artifactCollection": artifact["artifactSequence"],
        "artifact": artifact,
        "aliases": artifact["aliases"],
        "files": artifact["files"],
    }


def artifacts_of_run(site: Site, run: Row) -> Node:
    """Return the fields of a run with the artifacts that it logged and used."""

    def page(sql: str) -> Callable[..., Node]:
        def artifacts(after: str | None = None, first: int | None = 100) -> Node:
            return connection(site.store.rows(sql, run["number"]), lambda row: artifact_node(site, row), after, first)

        return artifacts

    logged = "SELECT * FROM artifacts WHERE run = ? AND state = 'COMMITTED' ORDER BY number"
    used = "SELECT artifacts.* FROM artifacts JOIN uses ON uses.artifact = artifacts.number WHERE uses.run = ? ORDER BY number"
    return {"outputArtifacts": page(logged), "inputArtifacts": page(used)}
