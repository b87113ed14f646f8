"""Replacement of files: atomic, durable, and with the permissions of the user's umask."""

import os
import time
from pathlib import Path

import pytest

from segsweep.files import replacing, write_and_remove


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with old content."""
    (tmp_path / "file").write_text("old")
    return tmp_path / "file"


def test_a_replaced_file_survives_a_power_cut(path, disk):
    """The content is on disk before one rename gives it its name, and the name is on disk on return."""
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert disk.survives(path) == b"new"
    ((_, target, synced),) = disk.renames
    assert (target, synced) == (path, True)


def test_without_durable_nothing_is_synced(path, disk):
    """Without `durable` the file is replaced atomically, without waiting for the disk."""
    with replacing(path, durable=False) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert disk.survives(path) is None
    assert len(disk.renames) == 1


def test_an_error_leaves_the_old_file(path):
    """If writing fails, the old file stays and no other file is left."""

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert path.read_text() == "old"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(path, umask, mask, expected):
    """A replaced file has the permissions of the umask, even if the writer created a file that only its owner may read."""
    umask(mask)
    with replacing(path) as temporary:
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    assert oct(path.stat().st_mode & 0o777) == oct(expected)


def test_the_file_is_written_and_removed(tmp_path: Path) -> None:
    """The probe writes a real file of the given size and removes it, also if the disk is too small."""
    started = time.monotonic()
    write_and_remove(tmp_path / "probe", 3 << 20)
    assert not list(tmp_path.iterdir())
    assert time.monotonic() - started < 10
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_and_remove(tmp_path / "folder" / "none" / "probe", 1)
