"""The kind of each request, and the function that answers it."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from wandb_server import artifacts, history, run_files
from wandb_server.answer import Answer
from wandb_server.notes import Notes
from wandb_server.port import Reply, Request
from wandb_server.root import root
from wandb_server.site import Site
from wandb_server.store import RUN

STREAM = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream")


@dataclass(frozen=True)
class Call:
    """A request with a known kind, and the function that answers it."""

    kind: str
    work: Callable[[], Reply]


def data(value: Any, status: int = 200) -> Reply:
    """Return a JSON response."""
    return Reply(status, json.dumps(value).encode())


def route(site: Site, notes: Notes, key: str, request: Request) -> Call:
    """Return the call for a request; all requests except those for storage need the account's key."""
    path = unquote(request.address.path)
    if path.startswith("/storage/"):
        return storage(site, notes, request, path.removeprefix("/storage/"))
    given = base64.b64decode(request.authorization.removeprefix("Basic ")).decode().partition(":")[2]
    if given != key:
        return Call(f"401 {path}", lambda: data({"errors": [{"message": "invalid API key"}]}, 401))
    if path == "/graphql":
        return question(site, notes, json.loads(request.body))
    if match := STREAM.fullmatch(path):
        body = json.loads(request.body)
        return Call("POST file_stream", lambda: data(history.receive(site.store, site.store.one(RUN, *match.groups()), body)))
    raise LookupError("no such address")


def question(site: Site, notes: Notes, body: dict[str, Any]) -> Call:
    """Return the call for a GraphQL document; its kind is the operation's, as `query Runs`."""
    answer = Answer(body["query"], body.get("variables") or {})

    def work() -> Reply:
        found = answer.run(root(site))
        with notes.lock:
            notes.missing |= {f"{answer.name}: {each}" for each in answer.missing}
        return data({"data": found})

    return Call(f"{answer.kind} {answer.name}", work)


def storage(site: Site, notes: Notes, request: Request, key: str) -> Call:
    """Return the call that uploads or downloads a blob of a `run`, an `artifact` or a `manifest`, which its kind names."""
    blob = site.store.blob(key)

    def put() -> Reply:
        with site.store.lock:
            blob.write_bytes(request.body)
        with notes.lock:
            notes.uploads.append(name_of(key, request.address.query))
        if key.startswith(run_files.PREFIX):
            run_files.keep_file(site, key)
        return Reply(200)

    def get() -> Reply:
        return Reply(200, blob.read_bytes()) if blob.exists() else Reply(404)

    return Call(f"{request.method} storage/{key.partition('/')[0]}", put if request.method == "PUT" else get)


def name_of(key: str, query: str) -> str:
    """Return the name of an uploaded file: `RUN/FILE`, `COLLECTION/FILE` of an artifact, or `manifest/NUMBER`."""
    if key.startswith(run_files.PREFIX):
        return key.split("/", 3)[3]
    return parse_qs(query)["name"][0] if key.startswith(artifacts.PREFIX) else key
