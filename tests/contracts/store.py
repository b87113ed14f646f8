"""Contract of stores, whatever their medium: tests that the tests of an implementation inherit."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from segsweep.errors import LostArtifactError
from segsweep.store.contents import INDEX_FILE
from segsweep.store.opening import open_store
from segsweep.store.protocol import Artifact, BeingBuiltError, Store

KIND, KEY, OTHER = "weights", "0123456789abcdef0123", "fedcba9876543210fedc"
FILES = {"weights": "w" * 1000, "report": "fine"}

BEGIN = """
import sys, time
from pathlib import Path
from segsweep.files import replacing
from segsweep.store.opening import open_store

store, log, pause_s = open_store(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
"""
BUILD = """
with store.building("weights", "0123456789abcdef0123") as build:
    if build.found is None:
        with log.open("a") as file:
            file.write("built\\n")
        (build.folder / "weights").write_bytes(b"w" * 1000)
        time.sleep(pause_s)
        build.commit({})
    print(build.found.content_hash)
"""
CHECKPOINT = """
checkpoints = store.checkpoints("trial")
path = checkpoints.open() / "last"
print(path.read_text() if path.is_file() else "nothing")
with replacing(path) as temporary:
    temporary.write_text("step 1")
checkpoints.save()
with replacing(path) as temporary:
    temporary.write_text("half of st")
    log.touch()
    time.sleep(pause_s)
    temporary.write_text("step 2")
checkpoints.save()
"""


def build(store: Store, key: str = KEY, **files: str) -> Artifact:
    """Build an artifact of some text files."""
    with store.building(KIND, key) as building:
        assert building.found is None
        for name, content in (files or FILES).items():
            (building.folder / name).write_text(content)
        return building.commit({"epochs": 3, "classes": ("a", "b")})


def break_off(store: Store) -> None:
    """Start to build an artifact, and raise."""
    with store.building(KIND, KEY) as building:
        (building.folder / "weights").write_text("half")
        raise RuntimeError("in the middle")


def flipped(content: bytes) -> bytes:
    """Return a file with one bit flipped."""
    return content[:-1] + bytes([content[-1] ^ 1])


SPOILT: dict[str, tuple[str, Callable[[bytes], bytes] | None]] = {
    "a cut file": ("weights", lambda content: content[:-1]),
    "a longer file": ("weights", lambda content: content + b"w"),
    "a missing file": ("report", None),
    "a missing index": (INDEX_FILE, None),
    "a cut index": (INDEX_FILE, lambda content: content[:50]),
    "an index of zeros": (INDEX_FILE, lambda content: bytes(len(content))),
    "an empty index": (INDEX_FILE, lambda _: b"{}"),
}


class StoreContract:
    """Tests of a store. An implementation defines the fixtures `store` and `another_store`, and simulated failures."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """An empty store."""
        raise NotImplementedError

    @pytest.fixture
    def another_store(self, tmp_path: Path) -> Store:
        """An empty store in another place."""
        raise NotImplementedError

    def spoil(self, store: Store, key: str, name: str, change: Callable[[bytes], bytes] | None) -> None:
        """Change or remove a file of an artifact in the store, as a failing disk does."""
        raise NotImplementedError

    def forget(self) -> None:
        """Forget which artifacts this machine has verified, so that the next process acts like another machine."""
        raise NotImplementedError

    def take_away(self, store: Store) -> None:
        """Make a store unreachable, as an unmounted disk does."""
        raise NotImplementedError

    @pytest.fixture
    def start(self, store: Store, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
        """Return a function that starts another process on the store; `tmp_path / "log"` is the process's second argument."""
        children = []

        def start_script(script: str, pause_s: float = 0.0) -> "subprocess.Popen[str]":
            command = [sys.executable, "-c", BEGIN + script, store.location, str(tmp_path / "log"), str(pause_s)]
            environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
            child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            children.append(child)
            return child

        yield start_script
        for child in children:
            child.kill()
            child.communicate()

    # an artifact appears complete or not at all

    def test_a_committed_artifact_is_found(self, store: Store) -> None:
        """A committed artifact is found through any handle, with its files, metadata and content hash."""
        made, handle = build(store), open_store(store.location)
        assert handle.find(KIND, KEY) == handle.inspect(KIND, KEY) == made.info
        found = handle.open(KIND, KEY)
        assert {path.name: path.read_text() for path in found.folder.iterdir() if path.name != INDEX_FILE} == FILES
        assert (found.info, found.metadata) == (made.info, {"epochs": 3, "classes": ["a", "b"]})
        assert json.loads((found.folder / INDEX_FILE).read_text())["metadata"] == found.metadata

    def test_an_artifact_appears_complete(self, store: Store) -> None:
        """Before the commit nothing is found or listed under the key; after it everything is."""
        with store.building(KIND, KEY) as building:
            (building.folder / "weights").write_text("w")
            assert (store.find(KIND, KEY), store.keys(KIND)) == (None, [])
            building.commit({})
            assert store.find(KIND, KEY) is not None
        assert store.keys(KIND) == [KEY]

    def test_uncommitted_files_are_removed(self, store: Store) -> None:
        """A builder that raises, or ends without `commit`, leaves nothing, and frees the key for the next one."""
        with pytest.raises(RuntimeError, match="in the middle"):
            break_off(store)
        with store.building(KIND, KEY) as building:
            assert list(building.folder.iterdir()) == []
            (building.folder / "weights").write_text("whole, but not said to be")
        assert (store.find(KIND, KEY), store.keys(KIND)) == (None, [])
        assert build(store).info == store.find(KIND, KEY)

    def test_a_finished_artifact_is_returned_at_once(self, store: Store) -> None:
        """A builder of an existing artifact gets that artifact, and may not commit."""
        made = build(store)
        with store.building(KIND, KEY) as building:
            assert (building.found.info, building.lost) == (made.info, None)
            with pytest.raises(AssertionError):
                building.commit({})
        assert store.open(KIND, KEY, verify="always").info == made.info

    def test_a_killed_builder_frees_the_key(self, store: Store, start: Callable, tmp_path: Path) -> None:
        """After `kill -9` of a builder nothing is found; a waiting builder continues at once and builds the artifact."""
        child = start(BUILD, 60)
        wait_for(lambda: (tmp_path / "log").exists())
        waiting = start(BUILD)
        time.sleep(0.3)
        assert waiting.poll() is None
        assert (store.find(KIND, KEY), store.is_being_built(KIND, KEY)) == (None, True)
        child.send_signal(signal.SIGKILL)
        out, error = waiting.communicate(timeout=30)
        assert store.find(KIND, KEY) is not None, error
        assert out.strip() == store.find(KIND, KEY).content_hash
        assert store.keys(KIND) == [KEY]

    def test_the_content_hash_is_that_of_the_bytes(self, store: Store, another_store: Store) -> None:
        """Equal files under two keys or in two stores have one constant content hash; other bytes, names or files another."""
        variants = [{"a": "x"}, {"a": "x"}, {"a": "y"}, {"b": "x"}, {"a": "x", "b": ""}, {"a": "xx"}]
        hashes = [build(store, f"{number:020d}", **files).content_hash for number, files in enumerate(variants)]
        assert hashes[0] == hashes[1] == build(another_store, **variants[0]).content_hash
        assert hashes[0] == "6c446bf7df4fb9e7fd14"  # pinned: all versions compute this hash
        assert len(set(hashes)) == 5

    # one builder at a time

    def test_processes_build_one_key_once(self, store: Store, start: Callable, tmp_path: Path) -> None:
        """Processes that request one key at the same time get the same artifact, built once."""
        outputs = [child.communicate(timeout=40) for child in [start(BUILD, 0.3) for _ in range(3)]]
        assert {out.strip() for out, _ in outputs} == {store.find(KIND, KEY).content_hash}, outputs
        assert (tmp_path / "log").read_text() == "built\n"

    def test_threads_build_one_key_once(self, store: Store) -> None:
        """Threads that request one key at the same time wait for the first, the only one that builds."""
        built, hashes = [], []

        def work() -> None:
            with store.building(KIND, KEY) as building:
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

    def test_other_keys_need_not_wait(self, store: Store) -> None:
        """Two keys can be built at the same time."""
        with store.building(KIND, KEY) as building:
            build(store, OTHER)
            assert building.folder.is_dir()
        assert store.find(KIND, OTHER) is not None

    def test_a_builder_that_does_not_wait_gets_an_error(self, store: Store) -> None:
        """While a key is being built, a builder with `wait=False` gets an error at once; afterwards the key is free."""
        assert not store.is_being_built(KIND, KEY)
        with store.building(KIND, KEY):
            assert store.is_being_built(KIND, KEY)
            with pytest.raises(BeingBuiltError, match="is being built by another process"), store.building(KIND, KEY, wait=False):
                pass
        assert not store.is_being_built(KIND, KEY)
        with store.building(KIND, KEY, wait=False) as building:
            assert building.found is None

    # missing and damaged artifacts

    def test_a_missing_artifact_is_not_damaged(self, store: Store) -> None:
        """An artifact that was never built, or of another kind, is not found; the error says that it is missing, and where."""
        build(store)
        for kind, key in (("data", KEY), (KIND, OTHER)):
            assert store.find(kind, key) is None
            for ask in (store.inspect, store.open):
                with pytest.raises(LostArtifactError) as raised:
                    ask(kind, key)
                assert str(raised.value) == f"{kind} {key}: is missing in {store.location}"
                assert not raised.value.damaged
        assert store.damaged() == []

    @pytest.mark.parametrize("what", SPOILT)
    def test_an_incomplete_artifact_is_rebuilt(self, store: Store, what: str) -> None:
        """A missing or truncated file, or index, makes the artifact count as damaged; the next builder replaces it."""
        made = build(store)
        self.spoil(store, KEY, *SPOILT[what])
        assert store.find(KIND, KEY) is None
        with pytest.raises(LostArtifactError, match="is damaged: ") as raised:
            store.inspect(KIND, KEY)
        assert raised.value.damaged
        assert build(store).info == made.info == store.find(KIND, KEY)

    @pytest.mark.parametrize("known", [True, False], ids=["verified here before", "new to this machine"])
    def test_a_flipped_bit_is_found_and_set_aside(self, store: Store, known: bool) -> None:
        """A file with one flipped bit is not opened: the error names it, and the artifact is set aside and can be rebuilt."""
        made = build(store)
        for number in (1, 2):
            if not known:
                self.forget()
            self.spoil(store, KEY, "report", flipped)
            with pytest.raises(
                LostArtifactError, match="is damaged: report has other bytes than were written; set aside as"
            ) as raised:
                store.open(KIND, KEY)
            assert raised.value.damaged
            assert "\n" not in str(raised.value)
            assert len(store.damaged()) == number
            assert str(raised.value).endswith(store.damaged()[-1])
            assert build(store).info == made.info

    def test_planning_moves_nothing(self, store: Store) -> None:
        """`find`, and `open` with `changed`, return no artifact whose files changed after verification, and move nothing."""
        made = build(store)
        self.spoil(store, KEY, "report", lambda content: content)
        assert store.find(KIND, KEY) == store.open(KIND, KEY, verify="changed").info == made.info
        self.spoil(store, KEY, "report", flipped)
        assert store.find(KIND, KEY) is None
        with pytest.raises(LostArtifactError):
            store.open(KIND, KEY, verify="changed")
        assert (store.keys(KIND), store.damaged()) == ([KEY], [])

    def test_a_builder_reports_earlier_damage(self, store: Store) -> None:
        """The builder of a damaged artifact finds it set aside, with the reason; without an earlier artifact there is none."""
        build(store)
        self.spoil(store, KEY, "weights", flipped)
        with store.building(KIND, KEY) as building:
            assert building.found is None
            assert "weights has other bytes than were written" in building.lost
        assert len(store.damaged()) == 1
        with store.building(KIND, KEY) as building:
            assert building.lost is None

    def test_an_unreachable_store_is_not_a_lost_artifact(self, store: Store) -> None:
        """A claimed store is reachable until it is removed; then no artifact counts as damaged or missing."""
        build(store)
        store.claim()
        assert store.is_reachable()
        self.take_away(store)
        assert not store.is_reachable()
        for ask in (store.find, store.inspect, store.open):
            with pytest.raises(OSError):  # noqa: PT011  # the message differs between stores
                ask(KIND, KEY)

    # listing and removing

    def test_artifacts_are_listed_and_removed(self, store: Store) -> None:
        """Keys are listed in order, including damaged ones, and sizes are those of all files; removal removes nothing else."""
        made = [build(store, key) for key in (OTHER, KEY)]
        self.spoil(store, OTHER, "report", flipped)
        assert (store.keys(KIND), store.keys("data")) == ([KEY, OTHER], [])
        assert store.size(KIND, KEY) == sum(path.stat().st_size for path in made[1].folder.iterdir())
        for _ in range(2):
            store.remove(KIND, OTHER)
            assert store.keys(KIND) == [KEY]
        assert store.open(KIND, KEY) == made[1]
        with pytest.raises(LostArtifactError, match="is missing in"):
            store.open(KIND, OTHER)

    # checkpoints

    def test_another_process_resumes_from_saved_checkpoints(self, store: Store, start: Callable, tmp_path: Path) -> None:
        """The checkpoints of a killed process contain the last complete file, never a truncated one."""
        assert store.checkpoints("trial").find() is None
        child = start(CHECKPOINT, 60)
        wait_for(lambda: (tmp_path / "log").exists())
        child.send_signal(signal.SIGKILL)
        assert child.communicate()[0] in ("", "nothing\n")
        assert (store.checkpoints("trial").find() / "last").read_text() == "step 1"
        out, error = start(CHECKPOINT).communicate(timeout=30)
        assert out == "step 1\n", error
        assert (store.checkpoints("trial").open() / "last").read_text() == "step 2"

    def test_checkpoints_are_apart_and_cleared(self, store: Store) -> None:
        """Each task has separate files; clearing removes only those, and does nothing if there are none."""
        for identity in ("trial-2", "trial-1"):
            (store.checkpoints(identity).open() / "last").write_text(identity)
            store.checkpoints(identity).save()
        assert store.unfinished() == ["trial-1", "trial-2"]
        for _ in range(2):
            store.checkpoints("trial-1").clear()
            assert store.unfinished() == ["trial-2"]
        assert store.checkpoints("trial-1").find() is None
        assert list(store.checkpoints("trial-1").open().iterdir()) == []
        assert (open_store(store.location).checkpoints("trial-2").open() / "last").read_text() == "trial-2"

    def test_a_finished_file_moves_from_the_checkpoints_into_an_artifact(self, store: Store) -> None:
        """A rename moves a large file from a checkpoint folder into an artifact, without a copy."""
        path = store.checkpoints("prepare").open() / "images"
        path.write_text("x")
        with store.building(KIND, KEY) as building:
            path.rename(building.folder / "images")
            building.commit({})
        assert (store.open(KIND, KEY).folder / "images").read_text() == "x"
        assert list(store.checkpoints("prepare").open().iterdir()) == []

    # texts, temporary folders and rehearsals

    @pytest.mark.parametrize("name", ["speed.json", "manifests/pets.json"])
    def test_a_text_is_shared_whole(self, store: Store, name: str) -> None:
        """A text reads as last written, through any handle; before the first write and after removal there is none."""
        text, handle = store.text(name), open_store(store.location).text(name)
        for content in ("{}", '{"a": "ä"}'):
            with pytest.raises(FileNotFoundError):
                handle.read()
            text.write("old, and longer than what follows")
            text.write(content)
            assert handle.read() == content
            for _ in range(2):
                handle.remove()
        assert name in text.location

    def test_scratch_folders_are_apart_and_removed(self, store: Store) -> None:
        """Two scratch folders with one prefix differ; each accepts files, and is removed at the end."""
        with store.scratch("tune-") as one, store.scratch("tune-") as other:
            assert one != other
            (one / "file").write_text("x")
        assert not one.exists()
        assert not other.exists()

    def test_a_rehearsal_shares_only_the_named_contents(self, store: Store) -> None:
        """A rehearsal's store shares the named kinds and texts with the other store; the rest is separate, and is removed."""
        build(store)
        with store.building("data", KEY) as building:
            building.commit({"of": "the store"})
        store.text("manifests/a.json").write("a")
        store.text("speed.json").write("fast")
        with store.rehearsal(("data", "manifests")) as aside:
            assert aside.open("data", KEY).metadata == {"of": "the store"}
            assert aside.text("manifests/a.json").read() == "a"
            assert aside.find(KIND, KEY) is None
            with pytest.raises(FileNotFoundError):
                aside.text("speed.json").read()
            build(aside, OTHER)
            with aside.building("data", OTHER) as building:
                building.commit({"of": "the rehearsal"})
        assert store.keys("data") == [KEY, OTHER]
        assert store.keys(KIND) == [KEY]

    # the environment

    def test_a_store_survives_pickling(self, store: Store) -> None:
        """A pickled handle opens the same artifacts; unpickling a handle of a removed store creates no new store."""
        made, content = build(store), pickle.dumps(store)
        assert pickle.loads(content).open(KIND, KEY).info == made.info  # noqa: S301
        store.claim()
        self.take_away(store)
        assert not pickle.loads(content).is_reachable()  # noqa: S301

    def test_free_space_is_probed(self, store: Store) -> None:
        """A new store is writable; a probe leaves no file behind."""
        store.check_writable()
        store.probe(3 << 20)
        assert store.keys(KIND) == store.unfinished() == store.damaged() == []

    def test_a_beacon_is_seen_only_from_the_same_store(self, store: Store, another_store: Store) -> None:
        """Every handle of a store sees its beacon while it exists; another store does not."""
        with store.beacon() as beacon, store.beacon() as second:
            assert beacon != second
            assert open_store(store.location).sees(beacon)
            assert not another_store.sees(beacon)
        assert not store.sees(beacon)


def wait_for(happened: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
