"""A store in a folder, on a local or a shared disk.

`ROOT/KIND/KEY/` contains an artifact's files and `artifact.json` (their sizes and checksums, the content hash, metadata). The
folder appears by one rename when it is complete. `ROOT/work/ID/` contains checkpoints of unfinished tasks, `ROOT/damaged/`
artifacts with wrong checksums, `ROOT/temporary/` files that are removed again, and `ROOT/locks/` a lock file per built artifact;
the operating system releases the lock when its process dies.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from segsweep.errors import LostArtifactError, UserError
from segsweep.files import write_and_remove
from segsweep.store.artifact_folder import move_into_place, read_intact, set_aside
from segsweep.store.checkpoints import FolderCheckpoints
from segsweep.store.index import DamageError
from segsweep.store.protocol import Artifact, ArtifactInfo, BeingBuiltError, Build, Progress, Verify, silent
from segsweep.store.text_file import TextFile

DAMAGED, LOCKS, TEMPORARY, UNFINISHED = "damaged", "locks", "temporary", "work"  # below the root, beside the kinds
MARK = "store"  # file in LOCKS that a claimed store has and an empty mount point lacks
REMEDY = "choose another --store, or have its owner run: chmod -R g+rwX DIR; reports, exports and predictions can read it"


@dataclass(frozen=True)
class FolderStore:
    """All artifacts of all studies in one folder; implements `segsweep.store.protocol.Store`."""

    root: Path

    def __post_init__(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--store {self.root}: cannot be created: {error.strerror}") from None

    @property
    def location(self) -> str:
        """The path of the folder."""
        return str(self.root)

    def folder(self, kind: str, key: str) -> Path:
        """Return the path of an artifact's folder, whether or not it exists."""
        return self.root / kind / key

    @property
    def temporary(self) -> Path:
        """The folder for temporary files, on the same disk as the artifacts."""
        folder = self.root / TEMPORARY
        folder.mkdir(exist_ok=True)
        return folder

    # reading

    def find(self, kind: str, key: str) -> ArtifactInfo | None:
        """Return information on a complete artifact; None if there is none."""
        try:
            return self.inspect(kind, key)
        except LostArtifactError:
            return None

    def inspect(self, kind: str, key: str) -> ArtifactInfo:
        """Return information on an artifact. Raises `LostArtifactError` if it is missing or damaged."""
        return self._read(kind, key, verify="changed").info

    def open(self, kind: str, key: str, progress: Progress = silent, *, verify: Verify = "once") -> Artifact:
        """Return a verified artifact. A damaged one is set aside in `ROOT/damaged/`."""
        try:
            return self._read(kind, key, progress, verify)
        except LostArtifactError as error:
            if not error.damaged or verify == "changed":
                raise
            try:
                with self._lock(kind, key, wait=False):
                    return self._read_or_set_aside(kind, key, progress, verify)
            except (BeingBuiltError, OSError):  # it is being rebuilt, or the store is read-only
                raise error from None

    def _read_or_set_aside(self, kind: str, key: str, progress: Progress, verify: Verify = "once") -> Artifact:
        """Return an artifact, or set a damaged one aside and raise `LostArtifactError`. The caller must hold the key's lock."""
        try:
            return self._read(kind, key, progress, verify)
        except LostArtifactError as error:
            if not error.damaged:
                raise
            destination = set_aside(self.folder(kind, key), DAMAGED)
            raise LostArtifactError(kind, key, f"{error.reason}; set aside as {destination}", damaged=True) from None

    def _read(self, kind: str, key: str, progress: Progress = silent, verify: Verify = "once") -> Artifact:
        """Return an artifact. Raises `LostArtifactError` if it is missing or damaged."""
        folder = self.folder(kind, key)
        try:
            index = read_intact(folder, verify, progress)
        except FileNotFoundError as error:
            raise self._lost(kind, key, error) from None
        except (NotADirectoryError, IsADirectoryError, DamageError) as error:
            raise LostArtifactError(kind, key, f"is damaged: {error}", damaged=True) from None
        except PermissionError as error:
            raise UserError(
                f"{error.filename}: cannot be read: {error.strerror}; ask its owner to run: chmod -R a+rX {self.root}"
            ) from None
        return Artifact(kind, key, index["content_hash"], index["metadata"], folder)

    def _lost(self, kind: str, key: str, error: FileNotFoundError) -> LostArtifactError:
        """Return the error for a missing artifact or file. Raises `error` if the whole store is missing (an unmounted disk)."""
        if not self.root.is_dir():
            raise error
        if self.folder(kind, key).is_dir():
            return LostArtifactError(kind, key, f"is damaged: {Path(error.filename).name} is missing", damaged=True)
        return LostArtifactError(kind, key, f"is missing in {self.root}")

    # building

    @contextmanager
    def building(self, kind: str, key: str, wait: bool = True, progress: Progress = silent) -> Iterator[Build]:
        """Yield a build of an artifact to the only process that builds it."""
        try:
            found: Artifact | None = self._read(kind, key, progress)
        except LostArtifactError:
            found = None
        if found is not None:
            yield Build(found.folder, found, None, partial(self._put, kind, key, found.folder))
            return
        temporary, lost = self.temporary, None
        with self._lock(kind, key, wait):
            for remains in temporary.glob(f"{kind}-{key}-*"):  # left by a killed builder
                shutil.rmtree(remains, ignore_errors=True)
            try:
                found = self._read_or_set_aside(kind, key, progress)
            except LostArtifactError as error:
                lost = error.reason if error.damaged else None
            folder = temporary / f"{kind}-{key}-{os.getpid()}"  # unlike mkdtemp's, readable by other users of a shared disk
            folder.mkdir()
            try:
                yield Build(folder, found, lost, partial(self._put, kind, key, folder))
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _put(self, kind: str, key: str, folder: Path, metadata: Mapping[str, Any]) -> Artifact:
        """Move the files of a folder into the store, and return the artifact."""
        move_into_place(folder, self.folder(kind, key), metadata)
        return self._read(kind, key, verify="changed")

    def is_being_built(self, kind: str, key: str) -> bool:
        """Return whether a live process is building an artifact now."""
        try:
            with self._lock(kind, key, wait=False):
                return False
        except BeingBuiltError:
            return True

    @contextmanager
    def _lock(self, kind: str, key: str, wait: bool) -> Iterator[None]:
        """Hold the lock of a key, which the operating system releases when the process dies."""
        (self.root / LOCKS).mkdir(exist_ok=True)
        lock = FileLock(self.root / LOCKS / f"{kind}-{key}.lock")
        try:
            lock.acquire(blocking=wait)
        except Timeout:
            raise BeingBuiltError(f"{kind} {key} is being built by another process") from None
        try:
            yield
        finally:
            lock.release()

    # listing and removing

    def remove(self, kind: str, key: str) -> None:
        """Remove an artifact if it exists."""
        shutil.rmtree(self.folder(kind, key), ignore_errors=True)

    def keys(self, kind: str) -> list[str]:
        """Return the keys of all artifacts of a kind."""
        return sorted(path.name for path in (self.root / kind).glob("*") if path.is_dir())

    def size(self, kind: str, key: str) -> int:
        """Return the size of an artifact in bytes."""
        return sum(path.stat().st_size for path in self.folder(kind, key).iterdir())

    def damaged(self) -> list[str]:
        """Return the folders of damaged artifacts that were set aside."""
        return sorted(str(path) for path in (self.root / DAMAGED).glob("*"))

    # checkpoints, texts, temporary folders

    def checkpoints(self, identity: str) -> FolderCheckpoints:
        """Return the checkpoints of an unfinished task."""
        return FolderCheckpoints(self.root / UNFINISHED / identity)

    def unfinished(self) -> list[str]:
        """Return the identities of all tasks with checkpoints."""
        return sorted(path.name for path in (self.root / UNFINISHED).glob("*"))

    def text(self, name: str) -> TextFile:
        """Return a shared text by its name."""
        return TextFile(self.root, name)

    @contextmanager
    def scratch(self, prefix: str) -> Iterator[Path]:
        """Yield a temporary folder in the store, which is removed at the end."""
        with TemporaryDirectory(dir=self.temporary, prefix=prefix, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    @contextmanager
    def rehearsal(self, shared: Iterable[str]) -> Iterator["FolderStore"]:
        """Yield an empty store with links to the folders that it shares with this one."""
        with self.scratch("check-") as folder:
            rehearsal_store = FolderStore(folder / "store")
            for name in shared:
                (self.root / name).mkdir(exist_ok=True)
                (rehearsal_store.root / name).symlink_to(self.root / name)
            yield rehearsal_store

    # the environment

    def check_writable(self) -> None:
        """Raise `UserError` if the user cannot write into the root or a folder in it."""
        try:
            with NamedTemporaryFile(dir=self.temporary, prefix="check-"):
                pass
            folders = [path for path in self.root.iterdir() if path.is_dir() and not os.access(path, os.W_OK | os.X_OK)]
        except OSError as error:
            raise UserError(f"--store {self.root}: cannot be written: {error.strerror}; {REMEDY}") from None
        if folders:
            raise UserError(f"--store {self.root}: its folder {folders[0].name} cannot be written: Permission denied; {REMEDY}")

    def claim(self) -> None:
        """Write the mark by which `is_reachable` recognises the store."""
        (self.root / LOCKS).mkdir(exist_ok=True)
        (self.root / LOCKS / MARK).touch()

    def is_reachable(self) -> bool:
        """Return whether the folder has the mark."""
        try:
            return (self.root / LOCKS / MARK).is_file()
        except OSError:
            return False

    def probe(self, size: int) -> None:
        """Write `size` bytes durably on the store's disk, and remove them."""
        write_and_remove(self.temporary / f"probe.{os.getpid()}.tmp", size)

    @contextmanager
    def beacon(self) -> Iterator[str]:
        """Create a file for other machines to look for, and yield its name."""
        beacon_file = self.temporary / f"seen-by-nodes-{uuid4().hex}"
        beacon_file.touch()
        try:
            yield beacon_file.name
        finally:
            beacon_file.unlink(missing_ok=True)

    def sees(self, beacon: str) -> bool:
        """Return whether this machine sees the beacon's file."""
        return (self.root / TEMPORARY / beacon).is_file()
