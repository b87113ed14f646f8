"""`segsweep verify`: intact and damaged contents, and the remedies."""

import os
from pathlib import Path

import pytest
import torch
from called import call

from segsweep.cli.commands import command_line
from segsweep.store.folder import FolderStore
from segsweep.store.verified import verified_file
from segsweep.training.checkpoint import TrainingState, save_checkpoint


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A store with two artifacts of each kind, and two checkpoints."""
    made = FolderStore(tmp_path / "store")
    for number, kind in enumerate(("data", "masks", "weights", "model")):
        for key in ("one", "two"):
            with made.building(kind, key) as build:
                (build.folder / "file").write_bytes(bytes(1_000_000 * (number + 1)))
                build.commit({})
    for identity in ("a", "b"):
        network = torch.nn.Linear(100, 100)
        state = TrainingState(type("Learner", (), {"network": network}), torch.optim.Adam(network.parameters()))
        save_checkpoint(state, made.checkpoints(identity).open() / "last.safetensors")
    return made


def flip(path: Path) -> None:
    """Flip a bit as a failing disk does: no time changes except that of the inode, which no user sees."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_an_intact_store_is_counted(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    """For every kind, the number of artifacts and bytes is printed; the exit code is 0, and progress goes to stderr."""
    assert call("verify", "--store", store.root) == 0
    output = capsys.readouterr()
    lines = {line.split()[0]: line for line in output.out.splitlines()}
    assert list(lines) == ["data", "masks", "weights", "model", "checkpoint"]
    assert all("2 intact" in line for line in lines.values())
    assert "2 intact (4.0 MB)" in lines["masks"]
    assert f"verifying {store.root}: 10/10" in output.err


def test_damage_of_every_kind_is_set_aside(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Damage is named with its file and the remedy, and set aside; a second call finds an intact store."""
    for kind in ("data", "masks", "weights", "model"):
        flip(store.folder(kind, "one") / "file")
    flip(store.root / "work" / "a" / "last.safetensors")
    assert call("verify", "--store", store.root) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("1 damaged") for line in lines[:5]] == [True] * 5
    there = store.root / "damaged" / "model-one-1"
    reason = "is damaged: file has other bytes than were written"
    assert f"model one: {reason}; set aside as {there}; the command of its study repeats this confirmed run" in lines
    damaged = "checkpoint a: is damaged: last.safetensors has other bytes than were written"
    assert lines[-2].startswith(f"{damaged}; its trial or stage restarts")
    assert lines[-1].startswith(f"{store.root / 'damaged'} contains 4 damaged artifacts")
    store.checkpoints("a").clear()
    assert call("verify", "--store", store.root) == 0
    assert "model      1 intact (4.0 MB)" in capsys.readouterr().out


def test_lost_bits_are_found_in_verified_files(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that this machine has verified, and whose size and times are unchanged, are read again nevertheless."""
    folder = store.folder("model", "one")
    monkeypatch.setattr(
        "segsweep.store.artifact_folder.file_stamps", lambda _, names: {name: [4_000_000, 1, 1, 1] for name in names}
    )
    store.open("model", "one")
    content = (folder / "file").read_bytes()
    (folder / "file").write_bytes(b"1" + content[1:])
    assert store.open("model", "one").key == "one"
    assert call("verify", "--store", store.root) == 1


def test_fingerprints_of_removed_artifacts_are_removed(store: FolderStore) -> None:
    """The fingerprints of removed artifacts are deleted, those of others stay."""
    gone, kept = (verified_file(store.folder("data", key)) for key in ("one", "two"))
    assert gone.is_file()
    store.remove("data", "one")
    assert call("verify", "--store", store.root) == 0
    assert (gone.is_file(), kept.is_file()) == (False, True)


def test_a_missing_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt store is rejected, and is not created."""
    assert call("verify", "--store", tmp_path / "none") == 2
    assert capsys.readouterr().err == f"error: --store {tmp_path / 'none'}: there is no such folder\n"
    assert not (tmp_path / "none").exists()


def test_records_of_a_named_study_are_verified_too(
    copy_of_finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records of a named study are read; damage is one line with the remedy, and the exit code is 1."""
    monkeypatch.chdir(copy_of_finished)
    command_line(["verify", "tiny"])
    assert capsys.readouterr().out.startswith("runs/tiny: records are intact\n")
    damaged = copy_of_finished / "runs" / "tiny" / "parts" / "000001" / "counts.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(SystemExit) as end:
        command_line(["verify", "tiny"])
    assert end.value.code == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(
        "runs/tiny/parts/000001/counts.parquet: is damaged (its checksum does not match); run the study's command"
    )
