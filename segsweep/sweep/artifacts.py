"""Artifacts of tasks as the planner asks for them: in the store, or made by another run right now."""

from functools import cache

from segsweep.data.dataset import Notify
from segsweep.errors import LostArtifactError
from segsweep.store.contents import WEIGHTS
from segsweep.store.protocol import Store
from segsweep.sweep.outage import Outage, retrying


class Artifacts:
    """Looks artifacts up in a store. With an `outage` every method waits while the store is out of reach.

    `notify` gets one line for every damaged artifact that counts as not built.
    """

    def __init__(self, store: Store, notify: Notify, outage: Outage | None = None) -> None:
        self._store = store if outage is None else retrying(store, outage)
        self._notify, self._outage = cache(notify), outage

    def find(self, kind: str, key: str) -> str | None:
        """Return the content hash of an artifact, None where the store has none that is whole."""
        try:
            return self._store.inspect(kind, key).content_hash
        except LostArtifactError as error:
            if error.damaged:
                self._notify(f"the stage with the weights {key} counts as not built: they are {error.reason.removeprefix('is ')}")
        if self._outage is not None:
            self._outage.retry(self._outage.require_store)
        return None

    def is_being_built(self, kind: str, key: str) -> bool:
        """Return whether a living process makes an artifact now."""
        return self._store.is_being_built(kind, key)

    def reading(self, key: str) -> float:
        """Return the reading of a built supervised stage, by which its learning rate is chosen; higher is better."""
        artifact = self._store.find(WEIGHTS, key)
        assert artifact is not None, f"stage {key} is not in the store"
        return float(artifact.metadata["facts"]["val_reading"])
