"""Artifacts as clients write them: created, their manifest and files uploaded, then committed and used."""

from typing import Any

from wandb_server.artifacts import PREFIX, artifact_node, content_url, numbered_artifact
from wandb_server.nodes import Node, identity, number_of
from wandb_server.runs import run_row
from wandb_server.site import Site
from wandb_server.store import Row, now


def create_artifact(site: Site, input_: dict[str, Any]) -> Node:
    """`createArtifact`: a new version, or the one that has the same content; the aliases move to it."""
    collection = input_.get("artifactCollectionName") or input_["artifactCollectionNames"][0]
    place = (input_["entityName"], input_["projectName"], collection)
    with site.store.lock:
        same = "entity = ? AND project = ? AND collection = ? AND digest = ? AND state = 'COMMITTED'"
        row = site.store.row(f"SELECT * FROM artifacts WHERE {same}", *place, input_["digest"])
        row = row or new_version(site, place, input_)
        for alias in input_.get("aliases") or []:
            site.store.write("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?, ?, ?)", *place, alias["alias"], row["number"])
    return {"artifact": artifact_node(site, row)}


def new_version(site: Site, place: tuple[str, str, str], input_: dict[str, Any]) -> Row:
    """Store the next version of a collection, not yet committed."""
    versions = "SELECT COUNT(*) AS versions FROM artifacts WHERE entity = ? AND project = ? AND collection = ?"
    version = (site.store.row(versions, *place) or {})["versions"]
    run = run_row(site, *place[:2], input_["runName"]) if input_.get("runName") else None
    columns = ("type", "digest", "metadata", "description", "clientID", "sequenceClientID", "historyStep")
    values = [input_["artifactTypeName"], *(input_.get(column) for column in columns[1:])]
    insert = f"INSERT INTO artifacts (entity, project, collection, version, run, createdAt, {', '.join(columns)}) VALUES "
    number = site.store.write(insert + f"({', '.join('?' * 13)})", *place, version, run and run["number"], now(), *values)
    row = numbered_artifact(site, number)
    assert row is not None
    return row


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
        assert artifact is not None
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
    """`commitArtifact`: from now on clients find the artifact."""
    number = number_of(input_["artifactID"])
    site.store.write("UPDATE artifacts SET state = 'COMMITTED' WHERE number = ?", number)
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
    row = numbered_artifact(site, number)
    assert row is not None
    return {"artifact": artifact_node(site, row)}


def client_mapping(site: Site, clientID: str) -> Node | None:
    """Return the identity here of an artifact that a client knows by its own."""
    by_client = "SELECT number FROM artifacts WHERE clientID = ? OR sequenceClientID = ? ORDER BY number DESC"
    row = site.store.row(by_client, clientID, clientID)
    return {"serverID": identity("Artifact", row["number"])} if row else None
