"""Which tasks have left their artifacts in the store."""

from collections.abc import Callable, Container

from segsweep.tasks.kinds import KINDS
from segsweep.tasks.task import Task

Find = Callable[[str, str], str | None]  # kind and key of an artifact -> its content hash, None where the store has none
IsBeingBuilt = Callable[[str, str], bool]  # kind and key of an artifact -> whether another process builds it now


class Built:
    """Looks artifacts up by the tasks that make them, and remembers those that it found.

    An artifact's key follows from the content of those that its task needs, so it is known once these are built. The artifact of
    an `unfinished` task does not count until its record is written.
    """

    def __init__(self, find: Find, is_being_built: IsBeingBuilt, unfinished: Container[str] = ()) -> None:
        self._find, self._is_being_built, self._unfinished = find, is_being_built, unfinished
        self._known: dict[str, tuple[str, str]] = {}  # identity of a task -> key and content hash

    def is_built(self, task: Task) -> bool:
        """Return whether a task's artifact is in the store."""
        if task.identity in self._unfinished:
            return False
        if task.identity not in self._known and (named := self._named(task)) is not None:
            kind, key = named
            if (content_hash := self._find(kind, key)) is not None:
                self._known[task.identity] = (key, content_hash)
        return task.identity in self._known

    def is_being_built(self, task: Task) -> bool:
        """Return whether another process makes a task's artifact now. All that the task needs must be built."""
        named = self._named(task)
        assert named is not None, f"{task.describe()}: what it needs is not built"
        return self._is_being_built(*named)

    def key(self, task: Task) -> str:
        """Return the key of a built artifact."""
        return self._known[task.identity][0]

    def content_hash(self, task: Task) -> str:
        """Return the content hash of a built artifact."""
        return self._known[task.identity][1]

    def forget(self) -> None:
        """Look everything up again, since something that was built may be lost."""
        self._known.clear()

    def _named(self, task: Task) -> tuple[str, str] | None:
        """Return the kind and the key of what a task makes; None for nothing, and while something that it needs is not built."""
        kind = KINDS[task.kind].artifact
        if kind is None or not all(self.is_built(need) for need in task.needs):
            return None
        key = task.key([self.content_hash(need) for need in task.needs])
        return None if key is None else (kind, key)
