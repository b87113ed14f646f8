"""The folder in which Ray works."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from segsweep.errors import UserError
from segsweep.sweep.ray_runner import ray_folder as module
from segsweep.sweep.ray_runner.ray_folder import ray_folder, short_temporary_folder, usable_folder


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path short enough for Ray's sockets; pytest's are too long."""
    path = Path(f"/tmp/rf{os.getpid()}")
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_the_folder_is_private_to_the_user(short: Path, monkeypatch: pytest.MonkeyPatch, umask) -> None:
    """Only its user can enter it, whatever the umask, and even if it was open before; so no other user can replace the contents
    of Ray's own open folders."""
    umask(0)
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    for _ in range(2):
        folder = ray_folder()
        assert folder.parent.parent == short
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        folder.parent.chmod(0o777)


def test_a_folder_of_another_user_is_not_used(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder or link that another user left under this user's name is rejected with the remedy."""
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    (short / "elsewhere").mkdir()
    (short / f"segsweep-{os.getuid()}").symlink_to(short / "elsewhere")
    with pytest.raises(UserError, match="belongs to another user; export RAY_TMPDIR=FOLDER"):
        ray_folder()


def test_a_path_that_is_too_long_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A RAY_TMPDIR of 100 characters is rejected with its length, the limit and the remedy; Ray's socket fits within the
    limit."""
    long = tmp_path / ("x" * (99 - len(str(tmp_path))))
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with pytest.raises(
        UserError, match=r"RAY_TMPDIR=.*: 100 characters, too long for Ray's sockets \(at most (\d+)\)"
    ) as refused:
        usable_folder()
    most = int(str(refused.value).split("at most ")[1].split(")")[0])
    monkeypatch.setenv("RAY_TMPDIR", "/" + "y" * (most - 1))
    socket = f"{usable_folder()}/r/session_2026-11-28_13-08-01_445688_4194304/sockets/dash_MetricsHead"
    assert len(socket) == 103
    monkeypatch.setenv("RAY_TMPDIR", "/" + "y" * most)
    with pytest.raises(UserError, match="too long"):
        usable_folder()


def test_a_long_tmpdir_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """If TMPDIR is too long for Ray, it works in /tmp; if it is too long for Python's sockets, too, so do its processes."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/" + "x" * 60)
    assert usable_folder() == Path(f"/tmp/segsweep-{os.getuid()}")
    assert short_temporary_folder() == {}
    monkeypatch.setenv("TMPDIR", "/" + "x" * 99)
    assert usable_folder() == Path(f"/tmp/segsweep-{os.getuid()}")
    assert short_temporary_folder() == {"TMPDIR": "/tmp"}


def test_a_relative_path_is_made_absolute(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself waits 30 s for its parts, which look elsewhere, and then fails."""
    monkeypatch.chdir(short)
    monkeypatch.setenv("RAY_TMPDIR", "here")
    assert usable_folder() == short / "here" / f"segsweep-{os.getuid()}"


def test_a_file_in_place_of_the_folder_is_one_line(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in place of the folder is reported with the remedy."""
    (short / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(short / "file"))
    with pytest.raises(UserError, match=f"RAY_TMPDIR={short}/file: {short}/file cannot be written; export RAY_TMPDIR=FOLDER"):
        usable_folder()


@pytest.mark.parametrize(("shared_gib", "needed"), [(1, 32), (0, 288)])
def test_a_full_disk_is_one_line(short: Path, monkeypatch: pytest.MonkeyPatch, shared_gib: int, needed: int) -> None:
    """Ray needs space for its logs, and for its objects, too, if /dev/shm is too small for them."""
    sizes = {"/dev/shm": shared_gib * 2**30}
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=sizes.get(str(path), 20 * 2**20)))
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    with pytest.raises(UserError, match=f"RAY_TMPDIR={short}: 20 MiB are free, but Ray needs {needed}"):
        usable_folder()
