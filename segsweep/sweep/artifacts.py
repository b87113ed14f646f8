"""Artifact lookups for the planner."""

from functools import cache

from segsweep.data.dataset import Notify
from segsweep.errors import LostArtifactError
from segsweep.store.contents import WEIGHTS
from segsweep.store.protocol import Store
from segsweep.sweep.outage import Outage, retrying


class Artifacts:
    """Looks up artifacts in a store. With an `outage`, every method waits while the store is unreachable.

    `notify` receives one line per damaged artifact; such an artifact counts as not built.
    """

    def __init__(self, store: Store, notify: Notify, outage: Outage | None = None) -> None:
        self._store = store if outage is None else retrying(store, outage)
        self._notify, self._outage = cache(notify), outage

    def find(self, kind: str, key: str) -> str | None:
        """Return the content hash of an artifact; None if the store does not have it or it is damaged."""
        try:
            return self._store.inspect(kind, key).content_hash
        except LostArtifactError as error:
            if error.damaged:
                self._notify(f"the weights {key} are {error.reason.removeprefix('is ')}; their stage is trained again")
        if self._outage is not None:
            self._outage.retry(self._outage.require_store)
        return None

    def is_being_built(self, kind: str, key: str) -> bool:
        """Return whether a running process is building an artifact now."""
        return self._store.is_being_built(kind, key)

    def reading(self, key: str) -> float:
        """Return the validation reading of a built supervised stage; the highest one decides its learning rate."""
        artifact = self._store.find(WEIGHTS, key)
        assert artifact is not None, f"stage {key} is not in the store"
        return float(artifact.metadata["facts"]["val_reading"])
