"""The root of every answer: the account, projects with their runs and artifacts, and what clients may change."""

from functools import partial
from typing import Any

from wandb_server.artifact_writes import (
    add_aliases,
    announce_contents,
    client_mapping,
    commit_artifact,
    create_artifact,
    create_manifest,
    delete_aliases,
    update_artifact,
    update_manifest,
    use_artifact,
)
from wandb_server.artifacts import artifact_node, artifacts_of_run, collection_node, membership, numbered_artifact
from wandb_server.nodes import Node, connection, identity, number_of
from wandb_server.run_files import announce_files
from wandb_server.runs import found_runs, run_node, run_row, upsert_run
from wandb_server.site import Site
from wandb_server.store import Row


def root(site: Site) -> Node:
    """Return the node at which operations begin."""
    project = partial(project_node, site)
    return {
        "serverInfo": {"features": [], "cliVersionInfo": {"max_cli_version": "99.0.0"}, "latestLocalVersionInfo": None},
        "viewer": viewer(site),
        "entity": partial(entity_node, site),
        "model": project,
        "project": project,
        "models": partial(projects, site),
        "artifact": partial(artifact_by_identity, site),
        "clientIDMapping": partial(client_mapping, site),
        "upsertBucket": partial(upsert_run, site),
        "createRunFiles": partial(announce_files, site),
        "createArtifact": partial(create_artifact, site),
        "createArtifactManifest": partial(create_manifest, site),
        "updateArtifactManifest": partial(update_manifest, site),
        "createArtifactFiles": partial(announce_contents, site),
        "commitArtifact": partial(commit_artifact, site),
        "updateArtifact": partial(update_artifact, site),
        "addAliases": partial(add_aliases, site),
        "deleteAliases": partial(delete_aliases, site),
        "useArtifact": partial(use_artifact, site),
    }


def viewer(site: Site) -> Node:
    """Return the account that every key of this server belongs to."""
    return {
        "__typename": "User",
        "id": identity("User", 1),
        "entity": site.user,
        "username": site.user,
        "name": site.user,
        "email": f"{site.user}@localhost",
        "admin": False,
        "flags": "{}",
        "deletedAt": None,
        "apiKeys": {"edges": []},
        "teams": {"edges": [{"node": {"name": site.user}}]},
    }


def entity_node(site: Site, name: str) -> Node:
    """Return an entity; every name is one."""
    person = {"__typename": "Entity", "id": identity("Entity", 1), "name": name, "user": None}
    return {**person, "organization": None, "xxhashDigestsEnabled": False, "isTeam": name != site.user}


def artifact_by_identity(site: Site, id_: str) -> Node:
    """Return the artifact of an identity."""
    return artifact_node(site, numbered_artifact(site, number_of(id_)))


def projects(site: Site, entityName: str, after: str | None = None, first: int | None = 50) -> Node:
    """Return the projects of an entity."""
    rows = site.store.rows("SELECT DISTINCT project FROM runs WHERE entity = ?", entityName)
    return connection(rows, lambda row: site.project(entityName, row["project"]), after, first)


def project_node(site: Site, name: str, entityName: str | None = None) -> Node | None:
    """Return a project with its runs and artifacts; a project is there as soon as a run is in it."""
    entity = site.entity(entityName)
    if site.store.row("SELECT 1 FROM runs WHERE entity = ? AND project = ? LIMIT 1", entity, name) is None:
        return None
    return {**site.project(entity, name), **run_fields(site, entity, name), **artifact_fields(site, entity, name)}


def run_fields(site: Site, entity: str, project: str) -> Node:
    """Return the fields of a project that lead to its runs."""

    def whole(row: Row) -> Node:
        return {**run_node(site, row), **artifacts_of_run(site, row)}

    def one(name: str, missingOk: bool = False) -> Node | None:  # noqa: ARG001
        row = run_row(site, entity, project, name)
        return whole(row) if row else None

    def runs(
        filters: str | None = None, after: str | None = None, first: int | None = 50, order: str | None = None
    ) -> dict[str, Any]:
        return connection(found_runs(site, entity, project, filters, order), whole, after, first)

    def count(filters: str | None = None) -> int:
        return len(found_runs(site, entity, project, filters, None))

    return {"run": one, "bucket": one, "runs": runs, "runCount": count}


def artifact_fields(site: Site, entity: str, project: str) -> Node:
    """Return the fields of a project that lead to its artifacts."""

    def member(name: str) -> Node | None:
        return membership(site, entity, project, name)

    def collection(name: str) -> Node | None:
        return collection_node(site, entity, project, name)

    def artifact(name: str) -> Node | None:
        found = member(name)
        return found and found["artifact"]

    def artifact_type(name: str) -> Node:
        kind = {"__typename": "ArtifactType", "id": identity("ArtifactType", 1), "name": name, "description": None}

        def of_type(name: str) -> Node | None:
            found = collection(name)
            return found if found and found["type"] == {"name": kind["name"]} else None

        return {**kind, "createdAt": None, "artifactCollection": of_type}

    fields = {"artifactType": artifact_type, "artifactCollection": collection}
    return {**fields, "artifactCollectionMembership": member, "artifact": artifact}
