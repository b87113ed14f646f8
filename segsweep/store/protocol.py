"""The interface of a store, independent of its medium: a folder, a shared disk, an object store.

An artifact has a kind and a key. It appears complete or not at all, is built by one process at a time, and is verified before its
files are read. Only the store knows where its files are: `location` is a text for `open_store` and for messages.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Progress = Callable[[str, int, int], None]  # activity, amount done, total amount
Verify = Literal["changed", "once", "always"]


def silent(what: str, done: int, total: int) -> None:
    """Ignore progress."""


class BeingBuiltError(Exception):
    """Another process is building this artifact."""


@dataclass(frozen=True)
class ArtifactInfo:
    """Information on an artifact that needs no reading of its files. `content_hash` is the digest of their checksums."""

    kind: str
    key: str
    content_hash: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Artifact(ArtifactInfo):
    """An artifact in a local folder, which must not be changed. `segsweep.store.contents` defines the file names."""

    folder: Path

    @property
    def info(self) -> ArtifactInfo:
        """The artifact without its folder."""
        return ArtifactInfo(self.kind, self.key, self.content_hash, self.metadata)


@dataclass
class Build:
    """The construction of one artifact: the builder writes files into the local `folder`, then calls `commit`.

    Attributes:
        folder: Folder for the files.
        found: The artifact, if it existed before or has been committed.
        lost: Damage of an earlier artifact, which has been set aside; None if there was none.
        put: The store's part of a commit.
    """

    folder: Path
    found: Artifact | None
    lost: str | None
    put: Callable[[Mapping[str, Any]], Artifact]

    def commit(self, metadata: Mapping[str, Any]) -> Artifact:
        """Move the files of the folder into the store, atomically and durably, and return the artifact."""
        assert self.found is None, f"{self.found} is in the store already"
        self.found = self.put(metadata)
        return self.found


class Checkpoints(Protocol):
    """The files of an unfinished task, which outlive the process that wrote them; the next process resumes from them.

    One process at a time writes. Each file is replaced atomically, as by `segsweep.files.replacing`.
    """

    def open(self) -> Path:
        """Return a local folder with the last saved files; empty if there are none.

        It is on the same disk as the folders of builds, so that a finished file can be moved into one of them.
        """

    def find(self) -> Path | None:
        """Return a local folder with the last saved files; None if there are none. Changes nothing."""

    def save(self) -> None:
        """Save the present files of the folder to the store. May return before the store has them."""

    def clear(self) -> None:
        """Remove all files after the task has ended."""


class SharedText(Protocol):
    """A small text that all users of a store share, for example a cache of facts that are slow to compute."""

    def __hash__(self) -> int:
        """Return a hash that is equal for the same text of equal stores, so that functions of a text can be cached."""

    @property
    def location(self) -> str:
        """Location of the text, for messages."""

    def read(self) -> str:
        """Return the text. Raises `FileNotFoundError` if it was never written, and another `OSError` if it is unreadable."""

    def write(self, text: str) -> None:
        """Replace the text atomically and durably. Raises `OSError`."""

    def remove(self) -> None:
        """Remove the text if it exists. Raises `OSError`."""


class Store(Protocol):
    """All artifacts of all studies in one place. Stores are picklable, for use in other processes and on other machines."""

    @property
    def location(self) -> str:
        """The text with which `open_store` opens the store."""

    def find(self, kind: str, key: str) -> ArtifactInfo | None:
        """Return information on an artifact; None if it is missing or damaged. Cheap, for planning.

        File sizes are compared; checksums only if this machine has verified the artifact and its files have changed since.
        """

    def inspect(self, kind: str, key: str) -> ArtifactInfo:
        """Return what `find` returns. Raises `LostArtifactError` with the reason instead of returning None. Moves nothing."""

    def open(self, kind: str, key: str, progress: Progress = silent, *, verify: Verify = "once") -> Artifact:
        """Return an artifact whose files have the checksums with which they were written.

        Args:
            kind: Kind of the artifact.
            key: Key of the artifact.
            progress: Called while checksums are computed.
            verify: When to compare checksums: `once` per machine, and again after the files changed; `always`; or `changed`, as
                `find` does.

        Raises:
            LostArtifactError: the artifact is missing or damaged. A damaged one is set aside first, except with `changed`.
            UserError: the user may not read the files.
            OSError: the disk fails, or the whole store is missing.
        """

    def building(self, kind: str, key: str, wait: bool = True, progress: Progress = silent) -> AbstractContextManager[Build]:
        """Enter a context with a `Build` that only one process at a time holds per key.

        Other processes wait for the builder to finish or die; without `wait` they get a `BeingBuiltError`. `found` is set at
        entry if the artifact exists and passes the verification of `open`. Files that are not committed are removed.
        """

    def is_being_built(self, kind: str, key: str) -> bool:
        """Return whether a live process is building an artifact now."""

    def remove(self, kind: str, key: str) -> None:
        """Remove an artifact if it exists."""

    def keys(self, kind: str) -> list[str]:
        """Return the sorted keys of all artifacts of a kind, damaged ones included."""

    def size(self, kind: str, key: str) -> int:
        """Return the size of an artifact in bytes. Raises `OSError` if it does not exist."""

    def damaged(self) -> list[str]:
        """Return the locations of damaged artifacts that were set aside. Nothing reads them."""

    def checkpoints(self, identity: str) -> Checkpoints:
        """Return the checkpoints of an unfinished task."""

    def unfinished(self) -> list[str]:
        """Return the sorted identities of all tasks with checkpoints."""

    def text(self, name: str) -> SharedText:
        """Return a shared text by name, such as `speed.json`; a name may have a group: `manifests/pets.json`."""

    def scratch(self, prefix: str) -> AbstractContextManager[Path]:
        """Enter a context with a temporary folder, removed at the end. Machines that see the store see it too."""

    def rehearsal(self, shared: Iterable[str]) -> AbstractContextManager["Store"]:
        """Enter a context with an empty store that shares some kinds of artifacts and groups of texts with this one.

        The store is removed at the end. `shared` are the names of kinds and groups.
        """

    def check_writable(self) -> None:
        """Raise `UserError` if the user cannot write into the store, or into a part of it that another user created."""

    def claim(self) -> None:
        """Write the mark by which `is_reachable` recognises the store. Raises `OSError`."""

    def is_reachable(self) -> bool:
        """Return whether a claimed store is available: not moved, with its disk mounted and responding."""

    def probe(self, size: int) -> None:
        """Write `size` bytes durably on the store's disk, and remove them. Raises `OSError`."""

    def beacon(self) -> AbstractContextManager[str]:
        """Enter a context with the name of a mark that other machines can look for; the mark is removed at the end."""

    def sees(self, beacon: str) -> bool:
        """Return whether this machine sees a beacon, so that it uses the same store as the machine that created the beacon."""
