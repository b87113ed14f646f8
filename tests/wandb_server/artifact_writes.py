"""Artifacts as clients write them: created, manifest and files uploaded, then committed and used."""

import json
from typing import Any

from wandb_server.artifacts import PREFIX, VERSIONS, artifact_node, content_url, numbered_artifact
from wandb_server.nodes import Node, identity, number_of
from wandb_server.site import Site
from wandb_server.store import RUN, Row, now

Place = tuple[str, str, str]


def create_artifact(site: Site, input_: dict[str, Any]) -> Node:
    """`createArtifact`: return the version with the same content, or a new one, which has no collection before its commit."""
    place = (input_["entityName"], input_["projectName"], input_["artifactCollectionName"])
    aliases = [each["alias"] for each in input_.get("aliases") or []]
    with site.store.lock:
        row = site.store.row(VERSIONS + "AND digest = ?", *place, input_["digest"])
        if row is None:
            row = new_version(site, place, input_, aliases)
        else:
            point_aliases(site, row, aliases)
    return {"artifact": artifact_node(site, row)}


def new_version(site: Site, place: Place, input_: dict[str, Any], aliases: list[str]) -> Row:
    """Store an artifact without a version number."""
    run = site.store.one(RUN, *place[:2], input_["runName"])
    columns = "(entity, project, collection, type, run, createdAt, aliases, digest, metadata)"
    values = (
        *place,
        input_["artifactTypeName"],
        run["number"],
        now(),
        json.dumps(aliases),
        input_["digest"],
        input_.get("metadata"),
    )
    number = site.store.write(f"INSERT INTO artifacts {columns} VALUES ({', '.join('?' * len(values))})", *values)
    return numbered_artifact(site, number)


def point_aliases(site: Site, row: Row, aliases: list[str]) -> None:
    """Move aliases of a collection to this artifact."""
    for alias in aliases:
        insert = "INSERT OR REPLACE INTO aliases VALUES (?, ?, ?, ?, ?)"
        site.store.write(insert, row["entity"], row["project"], row["collection"], alias, row["number"])


def create_manifest(site: Site, input_: dict[str, Any]) -> Node:
    """`createArtifactManifest`: return the upload address of the list of files."""
    number = number_of(input_["artifactID"])
    key = f"manifest/{number}"
    site.store.write("UPDATE artifacts SET manifest = ? WHERE number = ?", key, number)
    file = {"id": identity("File", number), "uploadUrl": site.url(key), "uploadHeaders": []}
    return {"artifactManifest": {"id": identity("Manifest", number), "file": file}}


def announce_contents(site: Site, input_: dict[str, Any]) -> Node:
    """`createArtifactFiles`: return upload addresses for files; existing content needs no upload."""

    def file(asked: dict[str, Any]) -> Node:
        key, artifact = f"{PREFIX}{asked['md5']}", numbered_artifact(site, number_of(asked["artifactID"]))
        here = site.store.blob(key).exists()
        return {
            "name": asked["name"],
            "storagePath": key,
            "uploadUrl": None if here else content_url(site, asked["md5"], artifact["collection"], asked["name"]),
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {"id": asked["artifactID"]},
        }

    return {"files": {"edges": [{"node": file(each)} for each in input_["artifactFiles"]]}}


def commit_artifact(site: Site, input_: dict[str, Any]) -> Node:
    """`commitArtifact`: make the artifact the next version of its collection, and move its aliases to it."""
    number = number_of(input_["artifactID"])
    with site.store.lock:
        row = numbered_artifact(site, number)
        if row["state"] != "COMMITTED":
            version = len(site.store.rows(VERSIONS, row["entity"], row["project"], row["collection"]))
            site.store.write("UPDATE artifacts SET state = 'COMMITTED', version = ? WHERE number = ?", version, number)
            point_aliases(site, row, json.loads(row["aliases"]))
    return answered(site, number)


def use_artifact(site: Site, input_: dict[str, Any]) -> Node:
    """`useArtifact`: record that a run starts from an artifact."""
    run = site.store.one(RUN, input_["entityName"], input_["projectName"], input_["runName"])
    number = number_of(input_["artifactID"])
    site.store.write("INSERT OR IGNORE INTO uses VALUES (?, ?)", run["number"], number)
    return answered(site, number)


def answered(site: Site, number: int) -> Node:
    """Return the response that contains an artifact."""
    return {"artifact": artifact_node(site, numbered_artifact(site, number))}
