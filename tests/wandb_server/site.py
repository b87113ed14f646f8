"""The context in which a request is answered: the store, the server's address, and the account."""

from dataclasses import dataclass
from urllib.parse import quote

from wandb_server.nodes import Node, identity
from wandb_server.store import Store


@dataclass(frozen=True)
class Site:
    """The context of every resolver."""

    store: Store
    address: str
    user: str

    def url(self, key: str) -> str:
        """Return the address of a blob."""
        return f"{self.address}/storage/{quote(key)}"

    def entity(self, name: str | None) -> str:
        """Return an entity's name; None means the account's."""
        return name or self.user

    def project(self, entity: str, name: str) -> Node:
        """Return the reference to a project in runs and artifacts."""
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
