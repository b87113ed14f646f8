"""A store in a folder, on a local or a shared disk.

`ROOT/KIND/KEY/` holds an artifact's files and `artifact.json` (their sizes and checksums, the content hash, metadata). A
folder appears there by one rename, when it is whole. `ROOT/work/ID/` is for checkpoints of what is not finished, and
`ROOT/damaged/` takes the artifacts whose checksums no longer hold.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from filelock import FileLock, Timeout

from segsweep.config.digest import digest
from segsweep.errors import LostArtifactError, UserError
from segsweep.files import set_permissions, sync
from segsweep.store.verified import looks, one_verifies, read_verified, write_verified

INDEX = "artifact.json"
DAMAGED = "damaged"
REMEDY = "take another --store, or have its owner run: chmod -R g+rwX DIR; reports, exports and predictions can read it"
CHUNK_BYTES = 1 << 22
SHOWN_BYTES = 1 << 28  # from this size on the progress of a verification is shown

Progress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much


def silent(what: str, done: int, total: int) -> None:
    """Show no progress."""


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
    """The building of one artifact: write into `folder`, then `commit`.

    `found` is the artifact, once there is one. `lost` says what was wrong with the one that was there before and is set aside,
    None where there was none.
    """

    store: "Store"
    kind: str
    key: str
    folder: Path
    found: Artifact | None = None
    lost: str | None = None

    def commit(self, metadata: Mapping[str, Any]) -> Artifact:
        """Put what lies in the folder into the store, whole and on disk, and return it."""
        files = {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(self.folder.iterdir())}
        index = {"files": files, "content_hash": digest(files), "metadata": json.loads(json.dumps(dict(metadata)))}
        (self.folder / INDEX).write_text(json.dumps({**index, "checksum": _index_checksum(index)}, indent=1), encoding="utf-8")
        permissions = (self.folder / INDEX).stat().st_mode
        for path in self.folder.iterdir():
            set_permissions(path, permissions)
            sync(path)
        sync(self.folder)
        verified = looks(self.folder, (INDEX, *files))
        final = self.store.folder(self.kind, self.key)
        final.parent.mkdir(exist_ok=True)
        self.folder.rename(final)
        for folder in (final.parent, self.store.root):
            sync(folder)
        write_verified(final, verified)
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

    @classmethod
    def existing(cls, root: Path) -> "Store":
        """Return the store in a folder, to read from. Raises `UserError` where there is no such folder; makes none."""
        if not root.is_dir():
            raise UserError(f"--store {root}: there is no such folder")
        return cls(root)

    def check_writable(self) -> None:
        """Raise `UserError` where the user cannot write into the store, or into a folder of it that somebody else has made."""
        try:
            with NamedTemporaryFile(dir=self.temporary, prefix="check-"):
                pass
            folders = [path for path in self.root.iterdir() if path.is_dir() and not os.access(path, os.W_OK | os.X_OK)]
        except OSError as error:
            raise UserError(f"--store {self.root}: cannot be written: {error.strerror}; {REMEDY}") from None
        if folders:
            raise UserError(f"--store {self.root}: its folder {folders[0].name} cannot be written: Permission denied; {REMEDY}")

    def folder(self, kind: str, key: str) -> Path:
        """Return where an artifact is or would be."""
        return self.root / kind / key

    def find(self, kind: str, key: str) -> Artifact | None:
        """Return an artifact, or None where the store has no whole one. For planning: to read an artifact's files, `open` it.

        Sizes are compared. Checksums are, too, where this machine has verified the artifact and its files were changed since.
        """
        try:
            return self.inspect(kind, key)
        except LostArtifactError:
            return None

    def inspect(self, kind: str, key: str) -> Artifact:
        """Return what `find` does. Raises `LostArtifactError`, which says what is wrong, where that is None; moves nothing."""
        return self._read(kind, key, thorough=False)

    def open(self, kind: str, key: str, progress: Progress = silent, *, again: bool = False) -> Artifact:
        """Return an artifact whose files can be read: all have the checksums with which they were written.

        The checksums are compared once per machine, and once more after the files were changed; with `again` always. Raises
        `LostArtifactError` where the artifact is missing or damaged; a damaged one is set aside first, in `ROOT/damaged/`. Raises
        `UserError` for files that the user may not read, and `OSError` where the disk fails or the whole store is gone.
        """
        try:
            return self._read(kind, key, progress, again=again)
        except LostArtifactError as error:
            if not self.folder(kind, key).exists():
                raise
            try:
                with self._lock(kind, key, wait=False):
                    return self._read_or_set_aside(kind, key, progress, again=again)
            except (TakenError, OSError):  # it is being built anew, or the store cannot be written
                raise error from None

    def _read_or_set_aside(self, kind: str, key: str, progress: Progress, *, again: bool = False) -> Artifact:
        """Return a whole artifact, or set a damaged one aside and raise `LostArtifactError`. The key's lock must be held."""
        try:
            return self._read(kind, key, progress, again=again)
        except LostArtifactError as error:
            if not (folder := self.folder(kind, key)).exists():
                raise
            aside = _set_aside(folder)
            raise LostArtifactError(kind, key, f"{error.reason}; set aside as {aside}") from None

    def _read(self, kind: str, key: str, progress: Progress = silent, *, thorough: bool = True, again: bool = False) -> Artifact:
        """Return an artifact. Raises `LostArtifactError` where it is not whole.

        Checksums are compared where the mark of this machine does not hold, and without one only if `thorough`; with `again`
        always.
        """
        folder = self.folder(kind, key)
        try:
            index = _read_index(folder)
            files = index["files"]
            found = looks(folder, (INDEX, *files))
            for name, (size, _) in files.items():
                if found[name][0] != size:
                    raise _DamageError(f"{name} has {found[name][0]} bytes instead of {size}")
            mark = read_verified(folder)
            if again or (mark != found and (thorough or mark is not None)):
                with one_verifies(folder):
                    if again or read_verified(folder) != found:
                        _compare(folder, files, f"verifying {kind} {key}", progress)
                        write_verified(folder, found)
        except FileNotFoundError as error:
            raise LostArtifactError(kind, key, self._missing(folder, error)) from None
        except (NotADirectoryError, IsADirectoryError, _DamageError) as error:
            raise LostArtifactError(kind, key, f"is damaged: {error}") from None
        except PermissionError as error:
            raise UserError(
                f"{error.filename}: cannot be read: {error.strerror}; ask its owner to run: chmod -R a+rX {self.root}"
            ) from None
        return Artifact(kind, key, folder, index["content_hash"], index["metadata"])

    def _missing(self, folder: Path, error: FileNotFoundError) -> str:
        """Return what is missing. Raises the error where that is the whole store, as after a disk was unmounted."""
        if not self.root.is_dir():
            raise error
        return f"is damaged: {Path(error.filename).name} is missing" if folder.is_dir() else f"is missing in {self.root}"

    @contextmanager
    def building(self, kind: str, key: str, wait: bool = True, progress: Progress = silent) -> Iterator[Build]:
        """Give the one builder of a key a folder to write into.

        Other processes wait here until it is done or dead; those that do not `wait` get a `TakenError` instead. `found` is
        set from the start where the artifact exists and is whole, as `open` says. What is not committed leaves nothing behind.
        """
        try:
            found: Artifact | None = self._read(kind, key, progress)
        except LostArtifactError:
            found = None
        if found is not None:
            yield Build(self, kind, key, found.folder, found)
            return
        temporary, lost = self.temporary, None
        with self._lock(kind, key, wait):
            for remains in temporary.glob(f"{kind}-{key}-*"):  # of a builder that was killed
                shutil.rmtree(remains, ignore_errors=True)
            there = self.folder(kind, key).exists()
            try:
                found = self._read_or_set_aside(kind, key, progress)
            except LostArtifactError as error:
                lost = error.reason if there else None
            folder = temporary / f"{kind}-{key}-{os.getpid()}"  # not mkdtemp's: others on a shared disk may read it
            folder.mkdir()
            try:
                yield Build(self, kind, key, folder, found, lost)
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
        parent = self.root / "work"
        for folder in (parent, parent / identity):  # not the root: a disk that was unmounted is not replaced by an empty folder
            folder.mkdir(exist_ok=True)
        return parent / identity

    def clear_workspace(self, identity: str) -> None:
        """Remove the checkpoints of a stage or trial that has ended."""
        shutil.rmtree(self.root / "work" / identity, ignore_errors=True)

    def drop(self, kind: str, key: str) -> None:
        """Remove an artifact, if it is there."""
        shutil.rmtree(self.folder(kind, key), ignore_errors=True)


class _DamageError(Exception):
    """What is wrong with the files of an artifact."""


def _read_index(folder: Path) -> dict[str, Any]:
    """Return an artifact's index: `files`, `content_hash` and `metadata`. Indexes of earlier versions have no checksum."""
    content = (folder / INDEX).read_bytes()
    try:
        index: dict[str, Any] = json.loads(content.decode("utf-8"))
        checksum = index.pop("checksum", None)
        sound = index["content_hash"] == digest(index["files"]) and checksum in (None, _index_checksum(index))
        sound = sound and set(index) == {"files", "content_hash", "metadata"}
        shaped = all(isinstance(size, int) and isinstance(sha, str) for size, sha in index["files"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = shaped = False
    if not (sound and shaped):
        raise _DamageError(f"{INDEX} has another content than was written")
    return index


def _index_checksum(index: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _compare(folder: Path, files: Mapping[str, Any], what: str, progress: Progress) -> None:
    """Compare the checksums of an artifact's files. Raises `_DamageError` that names the first file with another one."""
    total, before = sum(size for size, _ in files.values()), 0
    for name, (size, checksum) in files.items():

        def show(done: int, before: int = before) -> None:
            if total >= SHOWN_BYTES:
                progress(f"{what}, MB", (before + done) // 10**6, total // 10**6)

        if _checksum(folder / name, show) != checksum:
            raise _DamageError(f"{name} has other bytes than were written")
        before += size


def _checksum(path: Path, show: Callable[[int], None] = lambda _: None) -> str:
    """Return the SHA-256 of a file, telling how many bytes are read."""
    found, buffer, done = hashlib.sha256(), bytearray(CHUNK_BYTES), 0
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(buffer):
            found.update(view[:read])
            show(done := done + read)
    return found.hexdigest()


def _set_aside(folder: Path) -> Path:
    """Move a damaged artifact out of the way and return where it is now. Nothing is deleted: its user may want to look at it."""
    kind, key = folder.parts[-2:]
    home = folder.parent.resolve().parent / DAMAGED  # of the store that a rehearsal's links lead to
    home.mkdir(exist_ok=True)
    aside = next(path for number in count(1) if not (path := home / f"{kind}-{key}-{number}").exists())
    folder.rename(aside)
    sync(home)
    return aside
