"""Output folders of commands."""

import errno
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from segsweep.errors import UserError
from segsweep.report import new_folder
from segsweep.report.new_folder import make_new


def fails(*_: Any, **__: Any) -> NoReturn:
    """Fail like a disk that is mounted read-only."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    """A new folder, with its parents, and an existing empty folder can be written; nothing is left in it."""
    for _ in range(2):
        make_new("--out", tmp_path / "a" / "b")
        assert not list((tmp_path / "a" / "b").iterdir())


def test_a_file_in_place_of_a_folder_is_rejected(tmp_path: Path) -> None:
    """A file in place of the folder, or of one of its parents, is a one-line error."""
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match=r"^--out .*/file: is a file; name a new or empty folder$"):
        make_new("--out", tmp_path / "file")
    with pytest.raises(UserError, match=r"^--best .*/file/below: cannot be written: Not a directory; name another folder$"):
        make_new("--best", tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("lacking", ["listing", "writing"])
def test_an_unusable_folder_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    """A folder that can be neither listed nor written is a one-line error, before anything is computed."""
    owner, name = (Path, "iterdir") if lacking == "listing" else (new_folder, "NamedTemporaryFile")
    monkeypatch.setattr(owner, name, fails)
    with pytest.raises(UserError, match=r"^--out .*: cannot be written: Read-only file system; name another folder$"):
        make_new("--out", tmp_path)
