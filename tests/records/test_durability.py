"""Records after a power cut at any moment, for two extreme behaviours of a disk."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from segsweep.records import load
from segsweep.records.checked import parsed
from segsweep.records.lines import append_line, read_lines, replace_text, write_object
from segsweep.records.parts import read_index
from segsweep.records.schema import SCHEMA_VERSION
from segsweep.records.verify import damaged_records
from segsweep.records.writer import RecordWriter


class Disk:
    """A folder, and the state that is surely on disk: file contents and folder entries as of their last `fsync`.

    Each synced file is kept open, so that the system does not reuse its inode.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[str, tuple[int, bool]]] = {}
        self._open: list[int] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)
        for path in (folder, *folder.rglob("*")):
            descriptor = os.open(path, os.O_RDONLY)
            self.fsync(descriptor)
            os.close(descriptor)

    def fsync(self, descriptor: int) -> None:
        """Sync a file or folder, and record its state."""
        self._fsync(descriptor)
        self._open.append(os.dup(descriptor))
        state, path = os.fstat(descriptor), Path(f"/proc/self/fd/{descriptor}").readlink()
        if stat.S_ISDIR(state.st_mode):
            self.names[state.st_ino] = {entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(path)}
        else:
            self.contents[state.st_ino] = path.read_bytes()

    def survives(self, into: Path, lazy: bool) -> Path:
        """Write the state after a power cut into a new folder.

        A `lazy` disk has new names only if their folder was synced, and no removed names; the other has every name at once. Both
        have only the synced bytes of a file.
        """
        self._copy(self.folder, self.folder.stat().st_ino, into, lazy)
        return into

    def _copy(self, now: Path, inode: int, into: Path, lazy: bool) -> None:
        into.mkdir()
        there = {entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(now)} if now.is_dir() else {}
        held = {name: of for name, of in self.names.get(inode, {}).items() if name in there} if lazy else there
        for name, (number, is_folder) in held.items():
            if is_folder:
                self._copy(now / name, number, into / name, lazy)
            else:
                (into / name).write_bytes(self.contents.get(number, b""))

    def close(self) -> None:
        for descriptor in self._open:
            os.close(descriptor)


@pytest.fixture
def disk(tmp_path, monkeypatch) -> Iterator[Disk]:
    """A disk whose folder is empty."""
    (tmp_path / "s").mkdir()
    made = Disk(tmp_path / "s", monkeypatch)
    yield made
    made.close()


@pytest.mark.parametrize("lazy", [True, False], ids=["names late", "bytes late"])
def test_an_ended_trial_survives_a_power_cut(disk, tmp_path, write, lazy):
    """A trial whose end was recorded survives with its epochs and images, and no file is truncated.

    This holds while it is in live lines, just after its part was made, and long after.
    """
    writer = RecordWriter(disk.folder).__enter__()
    writer.declare({"schema_version": SCHEMA_VERSION, "name": "s"})
    writer.plan([{"trial_id": name, "cell": "c", "phase": "tune", "seed": 1, "status": "not_run"} for name in ("a", "b")])
    for number, name in enumerate("ab"):
        write(writer, name, images=2)
        for step in ("ended", "compacted"):
            if step == "compacted":
                writer.compact()
            left = disk.survives(tmp_path / f"{number} {step}", lazy)
            assert not damaged_records(left)
            assert len(read_index(left).parts) == number + (step == "compacted")
            records = load(left)
            ended = records.trials[records.trials["status"] == "finished"]
            assert ended["trial_id"].tolist() == ["a", "b"][: number + 1]
            assert (len(records.epochs), len(records.images)) == (2 * (number + 1), 2 * (number + 1))
    writer.choose("c", {"chosen": "a", "confirm": [], "at_edge": []})
    assert load(disk.survives(tmp_path / "chosen", lazy)).choices["c"]["chosen"] == "a"
    writer.__exit__(None, None, None)


def test_a_power_cut_while_a_plan_is_replaced_leaves_a_plan(disk, tmp_path, begin, write, monkeypatch):
    """Just before and just after a plan is replaced, the existing plan is complete and listed in the index."""
    writer, left = begin(disk.folder), []
    write(writer, "a")
    writer.plan([{"trial_id": "a", "cell": "old", "phase": "tune", "seed": 1}])
    replace = Path.replace

    def cut(path: Path, to: Path) -> None:
        left.append(disk.survives(tmp_path / f"before {to.name}", lazy=False))
        replace(path, to)
        left.append(disk.survives(tmp_path / f"after {to.name}", lazy=False))

    monkeypatch.setattr(Path, "replace", cut)
    writer.plan([{"trial_id": "a", "cell": "new", "phase": "tune", "seed": 1}])
    assert [load(folder).trials["cell"].tolist() for folder in left[:2]] == [["old"], ["new"]]
    writer.__exit__(None, None, None)


@pytest.mark.parametrize("lazy", [True, False], ids=["names late", "bytes late"])
def test_durable_writes_survive_a_power_cut(disk, tmp_path, lazy):
    """A replaced file, or a durable line, has its new content on disk when the call returns."""
    replace_text(disk.folder / "lines", "")
    for content in ("old", "new and longer"):
        replace_text(disk.folder / "text", content)
        write_object(disk.folder / "object.json", {"kind": content})
        append_line(disk.folder / "lines", {"kind": content}, durable=True)
        left = disk.survives(tmp_path / content, lazy)
        assert (left / "text").read_text() == content
        assert parsed((left / "object.json").read_bytes()) == {"kind": content}
        assert read_lines(left / "lines")[-1] == {"kind": content}


def test_a_part_appears_by_a_rename(tmp_path, begin, write, monkeypatch):
    """A part's folder is the one that was written and synced, not a copy."""
    writer, renamed = begin(tmp_path), []
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda path, to: renamed.append((path.stat().st_ino, Path(to))) or rename(path, to))
    write(writer, "a")
    writer.compact()
    assert [inode for inode, to in renamed if to.name == "000001"] == [(tmp_path / "parts" / "000001").stat().st_ino]
    writer.__exit__(None, None, None)
