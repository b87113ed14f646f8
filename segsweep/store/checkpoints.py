"""Checkpoints in a folder of the store. A file that is written there is saved."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FolderCheckpoints:
    """The checkpoint files of one unfinished task; implements `segsweep.store.protocol.Checkpoints`."""

    folder: Path

    def open(self) -> Path:
        """Return the folder, and create it if necessary, but never the root: it may be on a disk that was unmounted."""
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(exist_ok=True)
        return self.folder

    def find(self) -> Path | None:
        """Return the folder; None if it does not exist."""
        return self.folder if self.folder.is_dir() else None

    def save(self) -> None:
        """Do nothing: the folder is part of the store."""

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
