"""The folder of one artifact on a disk: moved into place when complete, verified when read, set aside when damaged."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from segsweep.files import set_permissions, sync
from segsweep.store.contents import INDEX_FILE
from segsweep.store.index import DamageError, compare, read_index, write_index
from segsweep.store.protocol import Progress, Verify
from segsweep.store.verified import file_stamps, read_verified, verification_lock, write_verified


def move_into_place(folder: Path, final: Path, metadata: Mapping[str, Any]) -> None:
    """Write the index of a folder, flush its files to disk, and rename it to `final`, on the same disk."""
    index = write_index(folder, metadata)
    permissions = (folder / INDEX_FILE).stat().st_mode
    for path in folder.iterdir():
        set_permissions(path, permissions)
        sync(path)
    sync(folder)
    verified = file_stamps(folder, (INDEX_FILE, *index["files"]))
    final.parent.mkdir(exist_ok=True)
    folder.rename(final)
    for changed in (final.parent, final.parent.parent):
        sync(changed)
    write_verified(final, verified)


def read_intact(folder: Path, verify: Verify, progress: Progress) -> dict[str, Any]:
    """Return the index of an artifact after verifying its files. Raises `DamageError` and `OSError`.

    File sizes are always compared, checksums as documented at `segsweep.store.protocol.Store.open`.
    """
    index = read_index(folder)
    files = index["files"]
    found = file_stamps(folder, (INDEX_FILE, *files))
    for name, (size, _) in files.items():
        if found[name][0] != size:
            raise DamageError(f"{name} has {found[name][0]} bytes instead of {size}")
    verified_state, always = read_verified(folder), verify == "always"
    if always or (verified_state != found and (verify == "once" or verified_state is not None)):
        with verification_lock(folder):
            if always or read_verified(folder) != found:
                compare(folder, files, "verifying {} {}".format(*folder.parts[-2:]), progress)
                write_verified(folder, found)
    return index


def set_aside(folder: Path, parent_name: str) -> Path:
    """Move a damaged artifact into the folder `parent_name` of its store, and return the new path. Nothing is deleted."""
    kind, key = folder.parts[-2:]
    into = folder.parent.resolve().parent / parent_name  # resolve() follows the links of a rehearsal to the real store
    into.mkdir(exist_ok=True)
    destination = next(path for number in count(1) if not (path := into / f"{kind}-{key}-{number}").exists())
    folder.rename(destination)
    sync(into)
    return destination
