"""The root node: the account, projects with their runs and artifacts, and the mutations."""

from functools import partial
from typing import Any

from wandb_server.artifact_writes import (
    announce_contents,
    commit_artifact,
    create_artifact,
    create_manifest,
    use_artifact,
)
from wandb_server.artifacts import artifact_node, artifacts_of_run, collection_node, membership, numbered_artifact
from wandb_server.nodes import Node, connection, identity, number_of
from wandb_server.run_files import announce_files
from wandb_server.runs import found_runs, run_node, run_row, upsert_run
from wandb_server.site import Site
from wandb_server.store import Row


def root(site: Site) -> Node:
    """Return the root node of operations."""
    project = partial(project_node, site)
    return {
        "serverInfo": {"features": []},
        "viewer": viewer(site),
        "entity": lambda name: {"organization": None},  # noqa: ARG005
        "model": project,
        "project": project,
        "artifact": partial(artifact_by_identity, site),
        "upsertBucket": partial(upsert_run, site),
        "createRunFiles": partial(announce_files, site),
        "createArtifact": partial(create_artifact, site),
        "createArtifactManifest": partial(create_manifest, site),
        "createArtifactFiles": partial(announce_contents, site),
        "commitArtifact": partial(commit_artifact, site),
        "useArtifact": partial(use_artifact, site),
    }


def viewer(site: Site) -> Node:
    """Return the account to which every key of this server belongs."""
    return {
        "id": identity("User", 1),
        "entity": site.user,
        "username": site.user,
        "email": f"{site.user}@localhost",
        "flags": "{}",
        "teams": {"edges": [{"node": {"name": site.user}}]},
    }


def artifact_by_identity(site: Site, id_: str) -> Node:
    """Return the artifact with an identity."""
    return artifact_node(site, numbered_artifact(site, number_of(id_)))


def project_node(site: Site, name: str, entityName: str | None = None) -> Node | None:
    """Return a project with its runs and artifacts; a project exists as soon as it has a run."""
    entity = site.entity(entityName)
    if site.store.row("SELECT 1 FROM runs WHERE entity = ? AND project = ? LIMIT 1", entity, name) is None:
        return None
    return {**site.project(entity, name), **run_fields(site, entity, name), **artifact_fields(site, entity, name)}


def run_fields(site: Site, entity: str, project: str) -> Node:
    """Return the fields of a project with its runs."""

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
    """Return the fields of a project with its artifacts."""

    member = partial(membership, site, entity, project)

    def artifact(name: str) -> Node | None:
        found = member(name)
        return found and found["artifact"]

    collection = partial(collection_node, site, entity, project)
    return {"artifactCollectionMembership": member, "artifactCollection": collection, "artifact": artifact}
