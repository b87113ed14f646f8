"""Artifacts as clients write them: created, their manifest and files uploaded, then committed and used."""

import json
from typing import Any

from wandb_server.artifacts import PREFIX, VERSIONS, artifact_node, content_url, numbered_artifact
from wandb_server.nodes import Node, identity, number_of
from wandb_server.runs import run_row
from wandb_server.site import Site
from wandb_server.store import Row, now

Place = tuple[str, str, str]


def create_artifact(site: Site, input_: dict[str, Any]) -> Node:
    """`createArtifact`: the version that has the same content, or a new one, which is nobody's until it is committed."""
    collection = input_.get("artifactCollectionName") or input_["artifactCollectionNames"][0]
    place = (input_["entityName"], input_["projectName"], collection)
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
    run = run_row(site, *place[:2], input_["runName"]) if input_.get("runName") else None
    columns = ("digest", "metadata", "description", "clientID", "sequenceClientID", "historyStep")
    values = [*place, input_["artifactTypeName"], run and run["number"], now(), json.dumps(aliases)]
    insert = f"INSERT INTO artifacts (entity, project, collection, type, run, createdAt, aliases, {', '.join(columns)}) "
    marks = ", ".join("?" * (len(values) + len(columns)))
    number = site.store.write(f"{insert} VALUES ({marks})", *values, *(input_.get(column) for column in columns))
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


def update_manifest(site: Site, input_: dict[str, Any]) -> Node:
    """`updateArtifactManifest`: the list of files is uploaded anew."""
    return create_manifest(site, {"artifactID": input_["artifactManifestID"]})


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


def add_aliases(site: Site, input_: dict[str, Any]) -> Node:
    """`addAliases`: more names for an artifact."""
    row = numbered_artifact(site, number_of(input_["artifactID"]))
    point_aliases(site, row, [each["alias"] for each in input_["aliases"]])
    return {"success": True}


def delete_aliases(site: Site, input_: dict[str, Any]) -> Node:
    """`deleteAliases`: fewer names for an artifact."""
    for each in input_["aliases"]:
        delete = "DELETE FROM aliases WHERE artifact = ? AND alias = ?"
        site.store.write(delete, number_of(input_["artifactID"]), each["alias"])
    return {"success": True}


def update_artifact(site: Site, input_: dict[str, Any]) -> Node:
    """`updateArtifact`: change the description and the metadata."""
    number = number_of(input_["artifactID"])
    for column in ("description", "metadata"):
        if input_.get(column) is not None:
            site.store.write(f"UPDATE artifacts SET {column} = ? WHERE number = ?", input_[column], number)
    return answered(site, number)


def use_artifact(site: Site, input_: dict[str, Any]) -> Node:
    """`useArtifact`: note that a run starts from an artifact."""
    run = run_row(site, input_["entityName"], input_["projectName"], input_["runName"])
    assert run is not None
    number = number_of(input_["artifactID"])
    site.store.write("INSERT OR IGNORE INTO uses VALUES (?, ?)", run["number"], number)
    return answered(site, number)


def answered(site: Site, number: int) -> Node:
    """Return the answer that is an artifact."""
    return {"artifact": artifact_node(site, numbered_artifact(site, number))}


def client_mapping(site: Site, clientID: str) -> Node | None:
    """Return the identity here of an artifact that a client knows by its own."""
    by_client = "SELECT number FROM artifacts WHERE clientID = ? OR sequenceClientID = ? ORDER BY number DESC"
    row = site.store.row(by_client, clientID, clientID)
    return {"serverID": identity("Artifact", row["number"])} if row else None
