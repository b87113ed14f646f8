"""Checkpoints in a folder of the store: what is written there is saved."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FolderCheckpoints:
    """The files of unfinished work in one folder. What its methods do, `segsweep.store.protocol.Checkpoints` says."""

    folder: Path

    def open(self) -> Path:
        """Return the folder, made if need be; not the root: a disk that was unmounted is not replaced by an empty folder."""
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(exist_ok=True)
        return self.folder

    def find(self) -> Path | None:
        """Return the folder, None where there is none."""
        return self.folder if self.folder.is_dir() else None

    def save(self) -> None:
        """Do nothing: the folder is in the store."""

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
