"""The store in a folder: the contract of stores, and its layout, permissions, marks and durability."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from contracts.store import KEY, OTHER, StoreContract, break_off, build

from segsweep.errors import LostArtifactError, UserError
from segsweep.store import index as index_module
from segsweep.store import verified
from segsweep.store.folder import FolderStore
from segsweep.store.opening import open_store


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return FolderStore(tmp_path / "store")


def forget() -> None:
    """Forget which artifacts this machine has verified, so that the next process acts like another machine."""
    verified._written.clear()
    shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]) / "segsweep", ignore_errors=True)


def flip(path: Path, position: int = -1, keep_times: bool = False) -> None:
    """Flip one bit of a file."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    if keep_times:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


class TestFolderStore(StoreContract):
    """A folder fulfils the contract of stores."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> FolderStore:
        return FolderStore(tmp_path / "store")

    @pytest.fixture
    def another_store(self, tmp_path: Path) -> FolderStore:
        return FolderStore(tmp_path / "another")

    def spoil(self, store: FolderStore, key: str, name: str, change: Callable[[bytes], bytes] | None) -> None:
        path = store.folder("weights", key) / name
        if change is None:
            path.unlink()
        else:
            path.write_bytes(change(path.read_bytes()))

    def forget(self) -> None:
        forget()

    def take_away(self, store: FolderStore) -> None:
        store.root.rename(store.root.with_name("away"))


def test_the_layout_on_disk_is_that_of_all_versions(store):
    """Artifacts, damaged artifacts, checkpoints and texts are where earlier versions wrote them; temporary files are removed."""
    build(store)
    build(store, OTHER)
    flip(store.root / "weights" / OTHER / "report")
    assert store.folder("weights", KEY) == store.root / "weights" / KEY
    with pytest.raises(LostArtifactError, match=rf"set aside as {store.root}/damaged/weights-{OTHER}-1$"):
        store.open("weights", OTHER)
    (store.checkpoints("trial").open() / "last.safetensors").touch()
    store.text("speed.json").write("{}")
    store.text("manifests/pets.json").write("{}")
    store.claim()
    files = {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file() and path.suffix != ".lock"}
    artifact = {"artifact.json", "report", "weights"}
    assert files == {
        *(f"weights/{KEY}/{name}" for name in artifact),
        *(f"damaged/weights-{OTHER}-1/{name}" for name in artifact),
        *("work/trial/last.safetensors", "speed.json", "manifests/pets.json", "locks/store"),
    }
    assert (store.root / "damaged" / f"weights-{OTHER}-1" / "report").read_text() == "find"
    assert names(store.root) == ["damaged", "locks", "manifests", "speed.json", "temporary", "weights", "work"]


@pytest.mark.parametrize("known", [True, False], ids=["verified here before", "new to this machine"])
def test_a_flipped_bit_is_found_although_the_times_are_as_before(store, known):
    """Bytes that a disk has changed are found, whatever the modification time."""
    made = build(store)
    if not known:
        forget()
    flip(made.folder / "report", keep_times=True)
    with pytest.raises(LostArtifactError, match="report has other bytes"):
        store.open("weights", KEY)


def as_nobody(work: Callable[[], Iterable[str]]) -> list[str]:
    """Run `work` in a process of a user without files and without verified artifacts, and return the lines that it yields."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    there, here = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.environ["XDG_CACHE_HOME"] = "/nowhere"
            verified._written.clear()
            lines = list(work())
        except BaseException as error:
            lines = [f"raised {error!r}"]
        os.write(here, json.dumps(lines).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(here)
    with os.fdopen(there, "rb") as pipe:
        return json.loads(pipe.read())


def tried(root: Path, *keys: str) -> Iterator[str]:
    """Yield the outcomes of opening some artifacts, and of checking whether the store is writable."""
    store = open_store(root, create=False)
    for key in keys:
        try:
            yield store.open("weights", key).content_hash
        except (LostArtifactError, UserError) as error:
            yield str(error)
    try:
        store.check_writable()
    except UserError as error:
        yield str(error)


@pytest.fixture
def shared() -> "Iterator[FolderStore]":
    """A store in a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield FolderStore(Path(folder) / "store")


def test_every_flipped_bit_of_an_index_is_found_or_changes_nothing(store):
    """No single flipped bit of `artifact.json`, which holds the input normalisation of models, goes unnoticed."""
    made = build(store, weights="abc")
    index = made.folder / "artifact.json"
    content = index.read_bytes()
    for position in range(0, 8 * len(content), 3):  # every byte, each bit position in turn
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        index.write_bytes(flipped)
        assert store.find("weights", KEY) in (None, made.info), flipped
    index.write_bytes(content)
    assert store.find("weights", KEY) == made.info


def test_checksums_are_read_once_per_machine(store, monkeypatch):
    """After a commit or verification on this machine, no process reads the checksums again until a file changes; then once."""
    read = []
    real = index_module._checksum
    monkeypatch.setattr(index_module, "_checksum", lambda path, *more: read.append(path.name) or real(path, *more))
    made = build(store)
    read.clear()
    store.open("weights", KEY)
    verified._written.clear()  # as another process
    store.open("weights", KEY)
    assert read == []
    forget()
    store.open("weights", KEY)
    store.open("weights", KEY)
    assert sorted(read) == ["report", "weights"]
    os.utime(made.folder / "report")
    store.open("weights", KEY)
    store.open("weights", KEY)
    assert sorted(read) == ["report", "report", "weights", "weights"]
    store.open("weights", KEY, verify="always")
    assert len(read) == 6


@pytest.mark.parametrize("content", ["", "{}", '{"files": 3}', "\0" * 40], ids=["empty", "no files", "no table", "zeros"])
def test_a_spoilt_mark_means_verifying_again(store, content):
    """An unreadable mark does not count: a flipped bit is found in spite of it."""
    made = build(store)
    verified._written.clear()
    verified.verified_file(made.folder).write_text(content)
    flip(made.folder / "report", keep_times=True)
    with pytest.raises(LostArtifactError):
        store.open("weights", KEY)


def test_no_cache_folder_is_needed(store, monkeypatch):
    """Without a writable cache folder, artifacts are verified once per process."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    made = build(store)
    assert store.open("weights", KEY) == made
    flip(made.folder / "report")
    with pytest.raises(LostArtifactError):
        store.open("weights", KEY)


def test_long_verifications_show_how_far_they_are(store, monkeypatch):
    """The verification of a large artifact reports progress up to the end; that of a small one reports none."""
    build(store, a="x" * 3_000_000, b="y" * 2_000_000)
    forget()
    calls = []
    store.open("weights", KEY, lambda *values: calls.append(values))
    assert calls == []
    monkeypatch.setattr(index_module, "SHOWN_BYTES", 5_000_000)
    store.open("weights", KEY, lambda *values: calls.append(values), verify="always")
    assert calls[-1] == (f"verifying weights {KEY}, MB", 5, 5)
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)


def test_an_artifact_survives_a_power_cut(store, disk):
    """At a commit, all files and their names are on disk before the rename of the folder, and the rename is on disk after it."""
    made = build(store)
    ((_, target, synced),) = [each for each in disk.renames if each[1].parent.parent == store.root]
    assert (target, synced) == (made.folder, True)
    for path in made.folder.iterdir():
        assert disk.survives(path) == path.read_bytes()
    assert disk.has(made.folder)
    assert disk.has(made.folder.parent)


def test_artifacts_can_be_read_by_others(store, umask):
    """Files and folders of the store have the permissions of the user's umask, whichever library wrote them."""
    umask(0o027)
    with store.building("weights", KEY) as building:
        (building.folder / "closed").write_text("x")
        (building.folder / "closed").chmod(0o600)
        made = building.commit({})
    store.checkpoints("trial-1").open()
    for path in store.root.rglob("*"):
        assert oct(path.stat().st_mode & 0o777) == ("0o750" if path.is_dir() else "0o640"), path
    assert made.folder.is_dir()


def test_a_read_only_store_serves_reads_and_refuses_runs(shared):
    """Another user reads a store that only its owner may write; damage is reported and not moved; a run is refused."""
    made = build(shared)
    (shared.root / "temporary").mkdir(exist_ok=True)
    damaged, closed = build(shared, OTHER), build(shared, "closed")
    flip(damaged.folder / "weights")
    (closed.folder / "weights").chmod(0o600)
    whole, lost, unread, refused = as_nobody(lambda: tried(shared.root, KEY, OTHER, "closed"))
    assert whole == made.content_hash
    assert lost == f"weights {OTHER}: is damaged: weights has other bytes than were written"
    assert damaged.folder.is_dir()
    assert unread.startswith(f"{closed.folder / 'weights'}: cannot be read: Permission denied; ask its owner")
    assert refused.startswith(f"--store {shared.root}: cannot be written: Permission denied; choose another --store")


def test_a_store_with_one_closed_folder_is_refused(shared):
    """A folder of the store that belongs to another user is named before any training."""
    for folder in (shared.root, shared.temporary):
        folder.chmod(0o777)
    (shared.root / "weights").mkdir()
    (refused,) = as_nobody(lambda: tried(shared.root))
    assert refused.startswith(f"--store {shared.root}: its folder weights cannot be written: Permission denied; choose another")
    shared.check_writable()


def test_artifact_index_is_readable_json(store):
    """The index contains the size and SHA-256 of every file, which other tools can check."""
    made = build(store, weights="abc")
    index = json.loads((made.folder / "artifact.json").read_text())
    assert index["files"] == {"weights": [3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]}
    assert index["content_hash"] == made.content_hash


def test_artifacts_of_earlier_versions_are_opened(store):
    """An index without its own checksum, as earlier versions wrote it, is read, and the files are verified."""
    made = build(store)
    path = made.folder / "artifact.json"
    index = json.loads(path.read_text())
    del index["checksum"]
    path.write_text(json.dumps(index, indent=1))
    assert store.open("weights", KEY) == made


def test_a_builder_leaves_no_temporary_files(store):
    """Files that a builder wrote outside the artifact are removed after a commit or an error."""
    with pytest.raises(RuntimeError):
        break_off(store)
    build(store)
    assert names(store.root / "temporary") == []


def test_clearing_remains_spares_other_builders(store):
    """A builder removes the remains of a dead builder of its key, but not the files of a live builder of another key."""
    (store.root / "temporary").mkdir()
    dead = store.root / "temporary" / f"weights-{KEY}-dead"
    dead.mkdir()
    (dead / "weights").write_text("half")
    with store.building("weights", OTHER) as other:
        build(store)
        assert not dead.exists()
        assert other.folder.is_dir()


def test_a_store_that_cannot_be_created_is_named(tmp_path):
    """A store whose path is a file, or below one, raises one line with the path."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(UserError, match=rf"--store {path}: cannot be created: ") as raised:
            FolderStore(path)
        assert "\n" not in str(raised.value)


def test_opening_a_missing_store_for_reading_creates_none(tmp_path):
    """Opening a missing store for reading raises one line, and creates no folder."""
    for path in (tmp_path / "none", str(tmp_path / "none")):
        with pytest.raises(UserError, match=rf"^--store {tmp_path}/none: there is no such folder$"):
            open_store(path, create=False)
    assert names(tmp_path) == []
    assert open_store(str(tmp_path / "made")) == open_store(tmp_path / "made", create=False) == FolderStore(tmp_path / "made")


@pytest.mark.parametrize("write", [lambda store: store.checkpoints("trial").open(), lambda store: store.text("a/b").write("x")])
def test_an_unmounted_disk_is_not_replaced_by_an_empty_folder(store, write):
    """Writing below a missing root fails and does not create another store in its place."""
    store.root.rename(store.root.with_name("away"))
    with pytest.raises(FileNotFoundError):
        write(store)
    assert not store.root.exists()
