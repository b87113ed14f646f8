"""A lookup of tasks whose artifacts are in the store."""

from collections.abc import Callable, Container

from segsweep.tasks.kinds import KINDS
from segsweep.tasks.task import Task

Find = Callable[[str, str], str | None]  # kind and key of an artifact -> its content hash; None if the store lacks it
IsBeingBuilt = Callable[[str, str], bool]  # kind and key of an artifact -> whether another process is building it now


class Built:
    """Looks up artifacts by the tasks that make them, and caches those that it finds.

    The key of an artifact depends on the content of the artifacts that its task needs, so it is known only once those are built.
    The artifact of an `unfinished` task does not count as built until the task's record is written.
    """

    def __init__(self, find: Find, is_being_built: IsBeingBuilt, unfinished: Container[str] = ()) -> None:
        self._find, self._is_being_built, self._unfinished = find, is_being_built, unfinished
        self._known: dict[str, tuple[str, str]] = {}  # id of a task -> key and content hash of its artifact

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
        """Return whether another process is building a task's artifact now. All tasks that it needs must be built."""
        named = self._named(task)
        assert named is not None, f"{task.describe()}: a task that it needs is not built"
        return self._is_being_built(*named)

    def key(self, task: Task) -> str:
        """Return the key of a built artifact."""
        return self._known[task.identity][0]

    def content_hash(self, task: Task) -> str:
        """Return the content hash of a built artifact."""
        return self._known[task.identity][1]

    def forget(self) -> None:
        """Clear the cache, because an artifact that was built may be lost."""
        self._known.clear()

    def _named(self, task: Task) -> tuple[str, str] | None:
        """Return the kind and the key of a task's artifact; None if it makes none, or if a task that it needs is not built."""
        kind = KINDS[task.kind].artifact
        if kind is None or not all(self.is_built(need) for need in task.needs):
            return None
        key = task.key([self.content_hash(need) for need in task.needs])
        return None if key is None else (kind, key)
