import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from segsweep.errors import UserError
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


def test_verify_names_the_damaged_file(store):
    """A file whose bytes changed at the same size is named, with what to do; a sound artifact passes."""
    made = build(store)
    store.verify(made)
    (made.folder / "weights").write_text("w" * 999 + "v")
    assert store.find("weights", KEY) == made
    with pytest.raises(UserError, match=rf"{made.folder}/weights: is damaged; remove the folder {made.folder}") as raised:
        store.verify(made)
    assert "\n" not in str(raised.value)


def test_artifact_index_is_readable_json(store):
    """The index holds size and SHA-256 of every file, which other tools can check."""
    made = build(store, weights="abc")
    index = json.loads((made.folder / "artifact.json").read_text())
    assert index["files"] == {"weights": [3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]}
    assert index["content_hash"] == made.content_hash


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
