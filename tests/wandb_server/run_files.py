"""The files of runs: images, tables and the client's metadata, announced by the client and then uploaded."""

import re
from typing import Any

from wandb_server.nodes import Node, connection, identity
from wandb_server.site import Site
from wandb_server.store import RUN, Row

PREFIX = "run/"


def key_of(run: Row, file: str) -> str:
    """Return the storage key of a run's file."""
    return f"{PREFIX}{run['entity']}/{run['project']}/{run['name']}/{file}"


def announce_files(site: Site, input_: dict[str, Any]) -> Node:
    """`createRunFiles`: return the upload addresses of the files."""
    run = site.store.one(RUN, input_["entityName"], input_["projectName"], input_["runName"])
    files = [{"name": name, "uploadUrl": site.url(key_of(run, name))} for name in input_["files"]]
    return {"runID": identity("Run", run["number"]), "uploadHeaders": [], "files": files}


def keep_file(site: Site, key: str) -> None:
    """Record that the file with a key was uploaded."""
    _, entity, project, run, name = key.split("/", 4)
    insert = "INSERT OR REPLACE INTO files SELECT number, ? FROM runs WHERE entity = ? AND project = ? AND name = ?"
    site.store.write(insert, name, entity, project, run)


def file_fields(site: Site, run: Row) -> Node:
    """Return the fields of a run that list its files; a pattern has SQL's `%` and `_`."""

    def files(
        names: list[str] | None = None, after: str | None = None, first: int | None = 50, pattern: str | None = None
    ) -> Node:
        rows = site.store.rows("SELECT * FROM files WHERE run = ? ORDER BY name", run["number"])
        like = re.compile(re.escape(pattern or "%").replace("%", ".*").replace("_", "."))
        found = [row for row in rows if (not names or row["name"] in names) and like.fullmatch(row["name"])]
        return connection(found, lambda row: file_node(site, key_of(run, row["name"]), row["name"]), after, first)

    def count() -> int:
        return len(site.store.rows("SELECT 1 FROM files WHERE run = ?", run["number"]))

    return {"files": files, "fileCount": count}


def file_node(site: Site, key: str, name: str) -> Node:
    """Return one uploaded file."""

    def url(upload: bool = False) -> str:  # noqa: ARG001
        return site.url(key)

    return {
        "__typename": "File",
        "id": identity("File", int(site.store.blob(key).name[:12], 16)),
        "name": name,
        "url": url,
        "directUrl": site.url(key),
        "sizeBytes": site.store.blob(key).stat().st_size,
        **dict.fromkeys(("md5", "mimetype", "updatedAt")),
    }
