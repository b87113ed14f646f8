"""Artifacts as clients write them: created, their manifest and files uploaded, then committed and used."""

import json
from typing import Any

from wandb_server.artifacts import PREFIX, VERSIONS, artifact_node, content_url, numbered_artifact
from wandb_server.nodes import Node, identity, number_of
from wandb_server.site import Site
from wandb_server.store import RUN, Row, now

Place = tuple[str, str, str]


def create_artifact(site: Site, input_: dict[str, Any]) -> Node:
    """`createArtifact`: the version that has the same content, or a new one, which is nobody's until it is committed."""
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
    """Store an artifact that has no version yet."""
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
    """Let aliases of a collection mean this artifact; they mean no other one any more."""
    for alias in aliases:
        insert = "INSERT OR REPLACE INTO aliases VALUES (?, ?, ?, ?, ?)"
        site.store.write(insert, row["entity"], row["project"], row["collection"], alias, row["number"])


def create_manifest(site: Site, input_: dict[str, Any]) -> Node:
    """`createArtifactManifest`: say where the list of files is to be uploaded."""
    number = number_of(input_["artifactID"])
    key = f"manifest/{number}"
    site.store.write("UPDATE artifacts SET manifest = ? WHERE number = ?", key, number)
    file = {"id": identity("File", number), "uploadUrl": site.url(key), "uploadHeaders": []}
    return {"artifactManifest": {"id": identity("Manifest", number), "file": file}}


def announce_contents(site: Site, input_: dict[str, Any]) -> Node:
    """`createArtifactFiles`: say where files are to be uploaded; content that is here already is not asked for again."""

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
    """`commitArtifact`: the artifact becomes the next version of its collection, and its aliases move to it."""
    number = number_of(input_["artifactID"])
    with site.store.lock:
        row = numbered_artifact(site, number)
        if row["state"] != "COMMITTED":
            version = len(site.store.rows(VERSIONS, row["entity"], row["project"], row["collection"]))
            site.store.write("UPDATE artifacts SET state = 'COMMITTED', version = ? WHERE number = ?", version, number)
            point_aliases(site, row, json.loads(row["aliases"]))
    return answered(site, number)


def use_artifact(site: Site, input_: dict[str, Any]) -> Node:
    """`useArtifact`: note that a run starts from an artifact."""
    run = site.store.one(RUN, input_["entityName"], input_["projectName"], input_["runName"])
    number = number_of(input_["artifactID"])
    site.store.write("INSERT OR IGNORE INTO uses VALUES (?, ?)", run["number"], number)
    return answered(site, number)


def answered(site: Site, number: int) -> Node:
    """Return the answer that is an artifact."""
    return {"artifact": artifact_node(site, numbered_artifact(site, number))}
