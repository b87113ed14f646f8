"""What a store offers to all who use it, wherever it keeps its contents: a folder, a shared disk, an object store.

An artifact has a kind and a key. It appears whole or not at all, is built by one process at a time, and is verified before its
files are read. Nobody outside the store knows where it keeps anything: `location` is a text, for `open_store` and for messages.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Progress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much
Verify = Literal["changed", "once", "always"]


def silent(what: str, done: int, total: int) -> None:
    """Show no progress."""


class BeingBuiltError(Exception):
    """Another process is building this artifact."""


@dataclass(frozen=True)
class ArtifactInfo:
    """What a store knows of an artifact without reading its files. `content_hash` is the digest of their checksums."""

    kind: str
    key: str
    content_hash: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Artifact(ArtifactInfo):
    """An artifact whose files lie in a local folder, to be read and never changed. `contents` says how they are named."""

    folder: Path

    @property
    def info(self) -> ArtifactInfo:
        """What the store knows of it."""
        return ArtifactInfo(self.kind, self.key, self.content_hash, self.metadata)


@dataclass
class Build:
    """The building of one artifact: write files into the local `folder`, then `commit`.

    `found` is the artifact, once there is one. `lost` says what was wrong with the one that was there before and is set aside,
    None where there was none. `put` is the store's own part of a commit.
    """

    folder: Path
    found: Artifact | None
    lost: str | None
    put: Callable[[Mapping[str, Any]], Artifact]

    def commit(self, metadata: Mapping[str, Any]) -> Artifact:
        """Put what lies in the folder into the store, whole and durable, and return it."""
        assert self.found is None, f"{self.found} is in the store already"
        self.found = self.put(metadata)
        return self.found


class Checkpoints(Protocol):
    """The files of unfinished work, which outlive the process that wrote them: whoever opens them next resumes the work.

    One process at a time writes. Each file is written whole by rename, as `segsweep.files.replacing` does.
    """

    def open(self) -> Path:
        """Return a local folder with the files that were saved last, empty where there are none.

        It lies on the same disk as the folders of builds, so that a finished file can be moved into one of those.
        """

    def find(self) -> Path | None:
        """Return a local folder with the files that were saved last, None where there are none. Changes nothing."""

    def save(self) -> None:
        """Have the store keep the files that the folder holds now. It may return before the store has them."""

    def clear(self) -> None:
        """Remove all files of work that has ended."""


class SharedText(Protocol):
    """A small text that all users of a store share, as a cache of facts that take long to find out."""

    def __hash__(self) -> int:
        """Return an equal number for equal texts of equal stores: what reads one may be cached by it."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""

    def read(self) -> str:
        """Return the text. Raises `FileNotFoundError` where nothing was written, and another `OSError` where it is unreadable."""

    def write(self, text: str) -> None:
        """Replace the text as a whole, durably. Raises `OSError`."""

    def remove(self) -> None:
        """Remove the text, if there is one. Raises `OSError`."""


class Store(Protocol):
    """All artifacts of all studies in one place. It can be sent to other processes and machines (it is picklable)."""

    @property
    def location(self) -> str:
        """The text by which `open_store` opens the store."""

    def find(self, kind: str, key: str) -> ArtifactInfo | None:
        """Return what is known of an artifact, or None where the store has no whole one. For planning; cheap.

        Sizes are compared. Checksums are, too, where this machine has verified the artifact and its files were changed since.
        """

    def inspect(self, kind: str, key: str) -> ArtifactInfo:
        """Return what `find` does. Raises `LostArtifactError`, which says what is wrong, where that is None; moves nothing."""

    def open(self, kind: str, key: str, progress: Progress = silent, *, verify: Verify = "once") -> Artifact:
        """Return an artifact whose files can be read: all have the checksums with which they were written.

        The checksums are compared `once` per machine, and once more after the files were changed; `always`; or as `find` does
        (`changed`). Raises `LostArtifactError` where the artifact is missing or damaged; a damaged one is set aside first, except
        with `changed`. Raises `UserError` for files that the user may not read, and `OSError` where the disk fails or the whole
        store is gone.
        """

    def building(self, kind: str, key: str, wait: bool = True, progress: Progress = silent) -> AbstractContextManager[Build]:
        """Give the one builder of a key a folder to write into.

        Other processes wait here until it is done or dead; those that do not `wait` get a `BeingBuiltError` instead. `found` is
        set from the start where the artifact exists and is whole, as `open` says. What is not committed leaves nothing behind.
        """

    def is_being_built(self, kind: str, key: str) -> bool:
        """Return whether a living process is building an artifact now."""

    def remove(self, kind: str, key: str) -> None:
        """Remove an artifact, if it is there."""

    def keys(self, kind: str) -> list[str]:
        """Return the keys of all artifacts of a kind, in order, damaged ones included."""

    def size(self, kind: str, key: str) -> int:
        """Return the bytes that an artifact takes. Raises `OSError` where it is not there."""

    def damaged(self) -> list[str]:
        """Return where the damaged artifacts are that were set aside. Nothing reads them."""

    def checkpoints(self, identity: str) -> Checkpoints:
        """Return the checkpoints of a piece of unfinished work."""

    def unfinished(self) -> list[str]:
        """Return the identities of all work that has checkpoints, in order."""

    def text(self, name: str) -> SharedText:
        """Return a text by its name, as `speed.json`; a name may have a group, as `manifests/pets.json`."""

    def scratch(self, prefix: str) -> AbstractContextManager[Path]:
        """Give a folder for files of this process, removed at the end. Other machines see it where they see the store."""

    def rehearsal(self, shared: Iterable[str]) -> AbstractContextManager["Store"]:
        """Give an empty store that is removed at the end. It shares kinds of artifacts and groups of texts with this one."""

    def check_writable(self) -> None:
        """Raise `UserError` where the user cannot write into the store, or into a part of it that somebody else has made."""

    def claim(self) -> None:
        """Leave the mark by which `is_reachable` knows the store. Raises `OSError`."""

    def is_reachable(self) -> bool:
        """Return whether a store that was claimed is there: not moved, and its disk mounted and answering."""

    def probe(self, size: int) -> None:
        """Write `size` bytes durably where artifacts are made, and remove them. Raises `OSError`."""

    def beacon(self) -> AbstractContextManager[str]:
        """Leave a mark for other machines to look for, and give its name; it is removed at the end."""

    def sees(self, beacon: str) -> bool:
        """Return whether this machine sees a beacon: whether it has the same store as the machine that left it."""
