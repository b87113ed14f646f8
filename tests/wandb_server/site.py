"""Where a request is answered: the store, the address at which clients reach the server, and whose account it is."""

from dataclasses import dataclass
from urllib.parse import quote

from wandb_server.nodes import Node, identity
from wandb_server.store import Store


@dataclass(frozen=True)
class Site:
    """What every resolver needs."""

    store: Store
    address: str
    user: str

    def url(self, key: str) -> str:
        """Return the address of a blob."""
        return f"{self.address}/storage/{quote(key)}"

    def entity(self, name: str | None) -> str:
        """Return an entity's name; none means the account's own."""
        return name or self.user

    def project(self, entity: str, name: str) -> Node:
        """Return a project as runs and artifacts refer to it."""
        first = "SELECT number FROM runs NOT INDEXED WHERE entity = ? AND project = ? ORDER BY number LIMIT 1"
        row = self.store.row(first, entity, name) or {"number": 0}
        return {
            "__typename": "Project",
            "id": identity("Project", row["number"]),
            "internalId": str(row["number"]),
            "name": name,
            "entity": {"id": identity("Entity", 1), "name": entity},
            "readOnly": False,
        }
