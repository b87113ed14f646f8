"""Faults of the environment, and their distinction from errors of a task."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from safetensors import SafetensorError

from segsweep.errors import LostArtifactError, UserError
from segsweep.store.faults import SPACE, fault_of
from segsweep.store.folder import FolderStore

FULL = Path("/dev/full")  # every write to it fails as on a full disk


def wrapped(error: Exception, last: Exception, *, hidden: bool = False) -> Exception:
    """Return an error that was raised from another one, or while another one was handled."""
    try:
        try:
            raise error
        except Exception as first:
            raise last from (None if hidden else first)
    except Exception as found:
        return found


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EPERM", "ESTALE", "ENOTCONN"])
def test_errors_of_the_operating_system_are_faults(name: str) -> None:
    """An `OSError`, and every error raised from it, gives a fault with the reason, the place and the remedy."""
    number = getattr(errno, name)
    error = OSError(number, os.strerror(number), "/store/file")
    for each in (error, wrapped(error, RuntimeError("writing failed")), wrapped(error, UserError("cannot be read"), hidden=True)):
        fault = fault_of(each)
        assert fault is not None
        assert fault.reason == f"{os.strerror(number)}: /store/file"
        assert fault.remedy


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/images/1.png"),
        ValueError("3 requested"),
        RuntimeError("CUDA error: operation not permitted when stream is capturing"),
        UserError("--set lr: must be above 0"),
        LostArtifactError("weights", "k", "is missing"),
        KeyError("a"),
    ],
)
def test_other_errors_are_not_faults(error: Exception) -> None:
    """An error of the task itself is not a fault of the environment."""
    assert fault_of(error) is None


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("library", ["plain", "numpy", "torch", "pyarrow", "json"])
def test_a_full_disk_is_recognised_in_errors_of_all_libraries(library: str, tmp_path: Path) -> None:
    """Errors that the libraries really raise on a full device are recognised."""
    (tmp_path / "link").symlink_to(FULL)
    path = tmp_path / "link"

    def write() -> None:
        match library:
            case "plain":
                path.write_bytes(bytes(1 << 16))
            case "numpy":
                np.zeros(1 << 16).tofile(path)
            case "torch":
                torch.save(torch.zeros(1 << 16), path)
            case "pyarrow":
                parquet.write_table(pa.table({"a": np.arange(1 << 16)}), path)
            case "json":
                with path.open("w") as file:
                    json.dump(list(range(1 << 14)), file)

    with pytest.raises((OSError, RuntimeError)) as raised:
        write()
    fault = fault_of(raised.value, folder=tmp_path)
    assert fault is not None, repr(raised.value)
    assert fault.remedy == SPACE


def test_errors_of_safetensors_are_recognised_by_their_text() -> None:
    """The library that writes checkpoints raises errors without an error number."""
    error = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert fault_of(error, folder=Path("/store")).reason == "No space left on device: /store"


def test_any_error_while_the_store_is_gone_is_its_fault(tmp_path: Path) -> None:
    """A claimed store that was moved away, or whose mount point is empty, explains any error."""
    store = FolderStore(tmp_path / "store")
    store.claim()
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", store.root / "weights")
    assert fault_of(error, store) is None
    store.root.rename(tmp_path / "away")
    assert not store.is_reachable()
    assert "is gone" in fault_of(error, store).reason
    store.root.mkdir()
    assert "is gone" in fault_of(LostArtifactError("weights", "k", "is missing"), store).reason
