import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from segsweep.errors import LostArtifactError, UserError
from segsweep.store import folder as folder_module
from segsweep.store import verified
from segsweep.store.folder import Store, TakenError

KEY = "0123456789abcdef0123"

BUILDER = """
import sys, time
from pathlib import Path
from segsweep.store.folder import Store

root, log, pause_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
with Store(root).building("weights", "0123456789abcdef0123") as build:
    if build.found is None:
        with log.open("a") as file:
            file.write("built\\n")
        (build.folder / "weights.bin").write_bytes(b"w" * 1000)
        time.sleep(pause_s)
        build.commit({})
    print(build.found.content_hash)
"""


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "store")


def build(store: Store, key: str = KEY, **files: str):
    with store.building("weights", key) as building:
        assert building.found is None
        for name, content in (files or {"weights": "w" * 1000, "report": "fine"}).items():
            (building.folder / name).write_text(content)
        return building.commit({"epochs": 3})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def builder(*arguments) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, *map(str, arguments)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_what_is_committed_is_found(store):
    """An artifact that was committed is found, by any store on the folder, with its files, metadata and content hash."""
    made = build(store)
    found = Store(store.root).find("weights", KEY)
    assert found == made
    assert (found.folder / "report").read_text() == "fine"
    assert found.metadata == {"epochs": 3}
    assert names(store.root / "temporary") == []


def test_what_was_never_built_is_not_found(store):
    """A key that nobody built, or that was built under another kind, is not found."""
    assert store.find("weights", KEY) is None
    build(store)
    assert store.find("data", KEY) is None
    assert store.find("weights", KEY[::-1]) is None


def test_the_content_hash_is_that_of_the_bytes(store):
    """Equal files under two keys have one content hash; another byte, name or file has another."""
    variants = [{"a": "x"}, {"a": "x"}, {"a": "y"}, {"b": "x"}, {"a": "x", "b": ""}, {"a": "xx"}]
    hashes = [build(store, f"{number:020d}", **files).content_hash for number, files in enumerate(variants)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 5


def test_an_exception_leaves_nothing(store):
    """An exception while building leaves neither an artifact nor remains, and frees the key for the next."""

    def break_off():
        with store.building("weights", KEY) as building:
            (building.folder / "weights").write_text("half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        break_off()
    assert store.find("weights", KEY) is None
    assert names(store.root / "weights") == names(store.root / "temporary") == []
    assert build(store) == store.find("weights", KEY)


def test_what_is_not_committed_is_not_kept(store):
    """A builder that ends without `commit` leaves nothing."""
    with store.building("weights", KEY) as building:
        (building.folder / "weights").write_text("whole, but not said to be")
    assert store.find("weights", KEY) is None
    assert names(store.root / "temporary") == []


def test_an_artifact_appears_whole(store):
    """Until the commit there is no folder under the key; after it there is one with all its files."""
    with store.building("weights", KEY) as building:
        (building.folder / "weights").write_text("w")
        assert store.find("weights", KEY) is None
        assert not store.folder("weights", KEY).exists()
        building.commit({})
        assert names(store.folder("weights", KEY)) == ["artifact.json", "weights"]


def test_a_finished_artifact_is_given_at_once(store):
    """Who asks to build what exists gets it, and may not write."""
    made = build(store)
    with store.building("weights", KEY) as building:
        assert building.found == made


def cut_file(folder):
    (folder / "weights").write_text("w" * 999)


def lengthened_file(folder):
    (folder / "weights").write_text("w" * 1001)


def missing_file(folder):
    (folder / "report").unlink()


def missing_index(folder):
    (folder / "artifact.json").unlink()


def cut_index(folder):
    path = folder / "artifact.json"
    path.write_text(path.read_text()[:50])


def zeroed_index(folder):
    path = folder / "artifact.json"
    path.write_bytes(bytes(path.stat().st_size))


def empty_index(folder):
    (folder / "artifact.json").write_text("{}")


@pytest.mark.parametrize(
    "spoil",
    [cut_file, lengthened_file, missing_file, missing_index, cut_index, zeroed_index, empty_index],
    ids=lambda f: f.__name__,
)
def test_an_artifact_that_is_not_whole_is_built_again(store, spoil):
    """A missing or cut file, or index, makes the artifact count as absent; the next builder replaces it."""
    made = build(store)
    spoil(made.folder)
    assert store.find("weights", KEY) is None
    assert build(store) == made
    assert store.find("weights", KEY) == made


def flip(path: Path, position: int = -1, keep_times: bool = False) -> None:
    """Flip one bit of a file."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    if keep_times:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def forget() -> None:
    """Forget what this machine has verified: the next to open an artifact is like another machine."""
    verified._written.clear()
    shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]) / "segsweep", ignore_errors=True)


def aside(store: Store) -> list[str]:
    return names(store.root / "damaged")


def test_a_whole_artifact_is_opened_and_a_missing_one_is_lost(store):
    """Opening gives what was committed, also on a machine that has not verified it; what is missing is an error that says so."""
    made = build(store)
    assert store.open("weights", KEY) == made
    forget()
    assert store.open("weights", KEY) == made
    with pytest.raises(LostArtifactError, match=rf"weights {KEY[::-1]}: is missing in {store.root}$"):
        store.open("weights", KEY[::-1])


@pytest.mark.parametrize("known", [True, False], ids=["verified here before", "new to this machine"])
@pytest.mark.parametrize("keep_times", [True, False], ids=["times kept", "times changed"])
def test_a_flipped_bit_is_found_and_set_aside(store, known, keep_times):
    """A file with one other bit is not opened: the error names it, the artifact is set aside as it is, and can be built again."""
    made = build(store)
    if not known:
        forget()
    flip(made.folder / "report", keep_times=keep_times)
    there = store.root / "damaged" / f"weights-{KEY}-1"
    with pytest.raises(LostArtifactError, match=f"report has other bytes than were written; set aside as {there}$") as raised:
        store.open("weights", KEY)
    assert "\n" not in str(raised.value)
    assert (there / "report").read_text() == "find"
    assert build(store) == made
    flip(made.folder / "report")
    with pytest.raises(LostArtifactError):
        store.open("weights", KEY)
    assert aside(store) == [f"weights-{KEY}-1", f"weights-{KEY}-2"]


def test_every_flipped_bit_of_an_index_is_found_or_changes_nothing(store):
    """No single bit of `artifact.json`, which holds what a model expects of images, can change without notice."""
    made = build(store, weights="abc")
    index = made.folder / "artifact.json"
    content = index.read_bytes()
    for position in range(0, 8 * len(content), 3):  # every byte, every place in one
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        index.write_bytes(flipped)
        assert store.find("weights", KEY) in (None, made), flipped
    index.write_bytes(content)
    assert store.find("weights", KEY) == made


def test_planning_finds_a_bit_that_was_flipped_by_writing_the_file_again(store):
    """`find` gives no artifact whose files were changed to other bytes since this machine verified them; it moves nothing."""
    made = build(store)
    (made.folder / "report").write_text("fine")
    assert store.find("weights", KEY) == made
    flip(made.folder / "report")
    assert store.find("weights", KEY) is None
    assert made.folder.is_dir()


def test_a_builder_says_what_was_damaged(store):
    """Who builds what is damaged finds it set aside, and is told what was wrong; with nothing there before, nothing is said."""
    made = build(store)
    flip(made.folder / "weights")
    with store.building("weights", KEY) as building:
        assert building.found is None
        assert "weights has other bytes than were written" in building.lost
    assert aside(store) == [f"weights-{KEY}-1"]
    with store.building("weights", KEY) as building:
        assert building.lost is None


def test_checksums_are_read_once_per_machine(store, monkeypatch):
    """What was committed or opened on this machine is not read again, in any process, until a file changes; then once."""
    read = []
    real = folder_module._checksum
    monkeypatch.setattr(folder_module, "_checksum", lambda path, *more: read.append(path.name) or real(path, *more))
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
    store.open("weights", KEY, again=True)
    assert len(read) == 6


@pytest.mark.parametrize("content", ["", "{}", '{"files": 3}', "\0" * 40], ids=["empty", "no files", "no table", "zeros"])
def test_a_spoilt_mark_means_verifying_again(store, content):
    """A mark that cannot be read verifies nothing: a flipped bit is found in spite of it."""
    made = build(store)
    verified._written.clear()
    verified.verified_file(made.folder).write_text(content)
    flip(made.folder / "report", keep_times=True)
    with pytest.raises(LostArtifactError):
        store.open("weights", KEY)


def test_no_cache_folder_is_needed(store, monkeypatch):
    """Where the cache folder cannot be written, artifacts are verified once per process."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    made = build(store)
    assert store.open("weights", KEY) == made
    flip(made.folder / "report")
    with pytest.raises(LostArtifactError):
        store.open("weights", KEY)


def test_a_store_that_is_gone_is_no_lost_artifact(store):
    """Where the whole store is gone, as after a disk was unmounted, nothing is taken for damaged or missing."""
    build(store)
    store.root.rename(store.root.with_name("elsewhere"))
    for ask in (store.find, store.open):
        with pytest.raises(FileNotFoundError):
            ask("weights", KEY)


def test_long_verifications_show_how_far_they_are(store, monkeypatch):
    """Verifying a big artifact tells its progress up to the end; a small one is silent."""
    build(store, a="x" * 3_000_000, b="y" * 2_000_000)
    forget()
    told = []
    store.open("weights", KEY, lambda *values: told.append(values))
    assert told == []
    monkeypatch.setattr(folder_module, "SHOWN_BYTES", 5_000_000)
    store.open("weights", KEY, lambda *values: told.append(values), again=True)
    assert told[-1] == (f"verifying weights {KEY}, MB", 5, 5)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_an_artifact_survives_a_power_cut(store, disk):
    """At the commit all files and their names are on disk before the folder takes its name by one rename, which is, too, then."""
    made = build(store)
    ((_, target, synced),) = [each for each in disk.renames if each[1].parent.parent == store.root]
    assert (target, synced) == (made.folder, True)
    for path in made.folder.iterdir():
        assert disk.survives(path) == path.read_bytes()
    assert disk.has(made.folder)
    assert disk.has(made.folder.parent)


def test_artifacts_can_be_read_by_others(store, umask):
    """Files and folders of the store have the permissions that the user's umask gives, whatever wrote them."""
    umask(0o027)
    with store.building("weights", KEY) as building:
        (building.folder / "closed").write_text("x")
        (building.folder / "closed").chmod(0o600)
        made = building.commit({})
    store.workspace("trial-1")
    for path in store.root.rglob("*"):
        assert oct(path.stat().st_mode & 0o777) == ("0o750" if path.is_dir() else "0o640"), path
    assert made.folder.is_dir()


def as_nobody(work: Callable[[], Iterable[str]]) -> list[str]:
    """Do some work in a process of a user who owns nothing and has verified nothing, and return the lines that it yields."""
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
    """Yield what comes of opening some artifacts, and of asking whether the store can be written."""
    store = Store.existing(root)
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
def shared() -> "Iterator[Store]":
    """A store in a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Store(Path(folder) / "store")


def test_a_store_that_is_closed_to_writing_is_read_and_refused(shared):
    """Another user reads artifacts of a store that only its owner may write; damage is named and stays; a run is refused."""
    made = build(shared)
    (shared.root / "temporary").mkdir(exist_ok=True)
    damaged, closed = build(shared, KEY[::-1]), build(shared, "closed")
    flip(damaged.folder / "weights")
    (closed.folder / "weights").chmod(0o600)
    whole, lost, unread, refused = as_nobody(lambda: tried(shared.root, KEY, KEY[::-1], "closed"))
    assert whole == made.content_hash
    assert lost == f"weights {KEY[::-1]}: is damaged: weights has other bytes than were written"
    assert damaged.folder.is_dir()
    assert unread.startswith(f"{closed.folder / 'weights'}: cannot be read: Permission denied; ask its owner")
    assert refused.startswith(f"--store {shared.root}: cannot be written: Permission denied; take another --store")


def test_a_store_with_one_closed_folder_is_refused(shared):
    """Where only a folder within the store is somebody else's, it is named before anything is trained."""
    for folder in (shared.root, shared.temporary):
        folder.chmod(0o777)
    (shared.root / "weights").mkdir()
    (refused,) = as_nobody(lambda: tried(shared.root))
    assert refused.startswith(f"--store {shared.root}: its folder weights cannot be written: Permission denied; take another")
    shared.check_writable()


def test_artifact_index_is_readable_json(store):
    """The index holds size and SHA-256 of every file, which other tools can check."""
    made = build(store, weights="abc")
    index = json.loads((made.folder / "artifact.json").read_text())
    assert index["files"] == {"weights": [3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]}
    assert index["content_hash"] == made.content_hash


def test_artifacts_of_earlier_versions_are_opened(store):
    """An index without a checksum of its own, as earlier versions wrote it, is read, and the files are verified."""
    made = build(store)
    path = made.folder / "artifact.json"
    index = json.loads(path.read_text())
    del index["checksum"]
    path.write_text(json.dumps(index, indent=1))
    assert store.open("weights", KEY) == made


def test_threads_build_one_key_once(store):
    """Threads that want one key at once wait for the first, which alone builds."""
    built, hashes = [], []

    def work():
        with store.building("weights", KEY) as building:
            if building.found is None:
                built.append(1)
                time.sleep(0.1)
                (building.folder / "weights").write_text("w")
                building.commit({})
            hashes.append(building.found.content_hash)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(built), len(hashes), len(set(hashes))) == (1, 4, 1)


def test_other_keys_need_not_wait(store):
    """Two keys are built at the same time."""
    with store.building("weights", KEY):
        build(store, KEY[::-1])
    assert store.find("weights", KEY[::-1]) is not None


def test_processes_build_one_key_once(tmp_path, store):
    """Processes that want one key at once get the same artifact, which was built once."""
    children = [builder(store.root, tmp_path / "log", 0.3) for _ in range(3)]
    outputs = [child.communicate(timeout=40) for child in children]
    assert len({out for out, _ in outputs}) == 1
    assert outputs[0][0].strip() == store.find("weights", KEY).content_hash, outputs
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_killed_builder_frees_the_key(tmp_path, store):
    """After `kill -9` nothing is found, one who waited goes on at once, and what the dead one left is removed."""
    log = tmp_path / "log"
    child = builder(store.root, log, 60)
    deadline = time.monotonic() + 30
    while not names(store.root / "temporary") and time.monotonic() < deadline:
        time.sleep(0.02)
    waiting = builder(store.root, log, 0)
    time.sleep(0.3)
    assert waiting.poll() is None
    child.send_signal(signal.SIGKILL)
    child.communicate()
    out, error = waiting.communicate(timeout=20)
    assert out.strip() == store.find("weights", KEY).content_hash, error
    assert names(store.root / "temporary") == []
    assert names(store.root / "weights") == [KEY]


def test_clearing_remains_spares_other_builders(store):
    """A builder removes what a dead one left under its own key, and not the work of one that is still building another."""
    (store.root / "temporary").mkdir()
    dead = store.root / "temporary" / f"weights-{KEY}-dead"
    dead.mkdir()
    (dead / "weights").write_text("half")
    with store.building("weights", KEY[::-1]) as other:
        build(store)
        assert not dead.exists()
        assert other.folder.is_dir()


def test_workspaces_outlive_their_process_and_are_cleared(store):
    """A workspace is the same folder each time, keeps its files, and clearing it removes it, also when there is none."""
    folder = store.workspace("trial-1")
    (folder / "checkpoint").write_text("x")
    assert Store(store.root).workspace("trial-1") == folder
    assert (folder / "checkpoint").read_text() == "x"
    store.workspace("trial-2")
    store.clear_workspace("trial-1")
    store.clear_workspace("trial-1")
    assert names(store.root / "work") == ["trial-2"]


def test_dropping_removes_one_artifact(store):
    """A dropped artifact is gone, others stay, and dropping what is not there does nothing."""
    build(store)
    build(store, KEY[::-1])
    store.drop("weights", KEY)
    store.drop("weights", KEY)
    assert store.find("weights", KEY) is None
    assert store.find("weights", KEY[::-1]) is not None


def test_a_store_that_cannot_be_made_is_named(tmp_path):
    """A store whose path is a file, or lies below one, raises one line with the path."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(UserError, match=rf"--store {path}: cannot be made: ") as raised:
            Store(path)
        assert "\n" not in str(raised.value)


def test_those_who_do_not_wait_are_told(store):
    """While a key is being built, one who does not wait gets an error at once; the key is taken so long, and free afterwards."""
    assert not store.is_taken("weights", KEY)
    with store.building("weights", KEY):
        assert store.is_taken("weights", KEY)
        with pytest.raises(TakenError, match="is being built by another process"), store.building("weights", KEY, wait=False):
            pass
    assert not store.is_taken("weights", KEY)
    with store.building("weights", KEY, wait=False) as building:
        assert building.found is None
