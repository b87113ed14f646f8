"""Opening a store by its location."""

from pathlib import Path

from segsweep.errors import UserError
from segsweep.store.folder import FolderStore
from segsweep.store.protocol import Store


def open_store(location: str | Path, *, create: bool = True) -> Store:
    """Return the store in a folder, which is made if need be; to read from one, without `create`.

    Raises `UserError` for a folder that cannot be made, or that is not there and is not to be made.
    """
    root = Path(location)
    if not create and not root.is_dir():
        raise UserError(f"--store {root}: there is no such folder")
    return FolderStore(root)
