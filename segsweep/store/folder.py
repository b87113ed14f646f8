"""A store in a folder, on a local or a shared disk.

`ROOT/KIND/KEY/` holds an artifact's files and `artifact.json` (their sizes and checksums, the content hash, metadata). A
folder appears there by one rename, when it is whole. `ROOT/work/ID/` is for checkpoints of what is not finished.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from segsweep.config.digest import digest
from segsweep.errors import UserError
from segsweep.files import sync

INDEX = "artifact.json"


class TakenError(Exception):
    """Another process is building this artifact."""


@dataclass(frozen=True)
class Artifact:
    """Something that the store holds. `content_hash` is the digest of its files' checksums."""

    kind: str
    key: str
    folder: Path
    content_hash: str
    metadata: Mapping[str, Any]


@dataclass
class Build:
    """The building of one artifact: write into `folder`, then `commit`. `found` is the artifact, once there is one."""

    store: "Store"
    kind: str
    key: str
    folder: Path
    found: Artifact | None = None

    def commit(self, metadata: Mapping[str, Any]) -> Artifact:
        """Put what lies in the folder into the store, whole and on disk, and return it."""
        files = {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(self.folder.iterdir())}
        index = {"files": files, "content_hash": digest(files), "metadata": dict(metadata)}
        (self.folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
        for path in self.folder.iterdir():
            sync(path)
        final = self.store.folder(self.kind, self.key)
        final.parent.mkdir(parents=True, exist_ok=True)
        self.folder.rename(final)
        sync(final.parent)
        self.found = self.store.find(self.kind, self.key)
        assert self.found is not None
        return self.found


@dataclass(frozen=True)
class Store:
    """All artifacts of all studies below one folder."""

    root: Path

    def __post_init__(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--store {self.root}: cannot be made: {error.strerror}") from None

    def folder(self, kind: str, key: str) -> Path:
        """Return where an artifact is or would be."""
        return self.root / kind / key

    def find(self, kind: str, key: str) -> Artifact | None:
        """Return an artifact, or None where the store has none. An artifact with a missing or cut file counts as none."""
        folder = self.folder(kind, key)
        try:
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            whole = all((folder / name).stat().st_size == size for name, (size, _) in index["files"].items())
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None
        return Artifact(kind, key, folder, index["content_hash"], index["metadata"]) if whole else None

    def verify(self, artifact: Artifact) -> None:
        """Compare an artifact's files with their checksums. Raises `UserError` that names a damaged file."""
        files = json.loads((artifact.folder / INDEX).read_text(encoding="utf-8"))["files"]
        for name, (_, checksum) in files.items():
            if _checksum(artifact.folder / name) != checksum:
                raise UserError(
                    f"{artifact.folder / name}: is damaged; remove the folder {artifact.folder} and it is built again"
                )

    @contextmanager
    def building(self, kind: str, key: str, wait: bool = True) -> Iterator[Build]:
        """Give the one builder of a key a folder to write into.

        Other processes wait here until it is done or dead; those that do not `wait` get a `TakenError` instead. `found` is
        set from the start where the artifact exists. What is not committed leaves nothing behind.
        """
        temporary = self.temporary
        if (found := self.find(kind, key)) is not None:
            yield Build(self, kind, key, found.folder, found)
            return
        with self._lock(kind, key, wait):
            for remains in temporary.glob(f"{kind}-{key}-*"):  # of a builder that was killed
                shutil.rmtree(remains, ignore_errors=True)
            found = self.find(kind, key)
            if found is None and self.folder(kind, key).exists():
                shutil.rmtree(self.folder(kind, key))  # damaged: see `find`
            folder = temporary / f"{kind}-{key}-{os.getpid()}"  # not mkdtemp's: others on a shared disk may read it
            folder.mkdir()
            try:
                yield Build(self, kind, key, folder, found)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def is_taken(self, kind: str, key: str) -> bool:
        """Return whether a living process is building an artifact now."""
        try:
            with self._lock(kind, key, wait=False):
                return False
        except TakenError:
            return True

    @contextmanager
    def _lock(self, kind: str, key: str, wait: bool) -> Iterator[None]:
        """Hold the lock of a key, which the operating system takes from a process that dies."""
        (self.root / "locks").mkdir(exist_ok=True)
        lock = FileLock(self.root / "locks" / f"{kind}-{key}.lock")
        try:
            lock.acquire(blocking=wait)
        except Timeout:
            raise TakenError(f"{kind} {key} is being built by another process") from None
        try:
            yield
        finally:
            lock.release()

    @property
    def temporary(self) -> Path:
        """The folder for what is removed again, on the same disk as the artifacts."""
        folder = self.root / "temporary"
        folder.mkdir(exist_ok=True)
        return folder

    def workspace(self, identity: str) -> Path:
        """Return the folder for checkpoints of an unfinished stage or trial, made if need be."""
        folder = self.root / "work" / identity
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clear_workspace(self, identity: str) -> None:
        """Remove the checkpoints of a stage or trial that has ended."""
        shutil.rmtree(self.root / "work" / identity, ignore_errors=True)

    def drop(self, kind: str, key: str) -> None:
        """Remove an artifact, if it is there."""
        shutil.rmtree(self.folder(kind, key), ignore_errors=True)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
