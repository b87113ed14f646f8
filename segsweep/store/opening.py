"""Open a store by its location."""

from pathlib import Path

from segsweep.errors import UserError
from segsweep.store.folder import FolderStore
from segsweep.store.protocol import Store


def open_store(location: str | Path, *, create: bool = True) -> Store:
    """Return the store in a folder.

    Args:
        location: Path of the folder.
        create: Whether to create a missing folder; a reader sets this to False.

    Raises:
        UserError: the folder cannot be created, or is missing and `create` is False.
    """
    root = Path(location)
    if not create and not root.is_dir():
        raise UserError(f"--store {root}: there is no such folder")
    return FolderStore(root)
