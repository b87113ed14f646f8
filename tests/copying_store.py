"""A store that copies checkpoints: unsaved files are lost, as with an object store."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from segsweep.store.folder import FolderStore


@dataclass(frozen=True)
class CopiedCheckpoints:
    """Checkpoints in a local folder, of which `save` makes a copy; `open` starts from the copy."""

    local: Path
    kept: Path

    def open(self) -> Path:
        """Return the local folder, with only the files of the copy."""
        shutil.rmtree(self.local, ignore_errors=True)
        self.kept.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copytree(self.kept, self.local))

    def find(self) -> Path | None:
        """Return the copy; None if nothing was saved."""
        return self.kept if self.kept.is_dir() else None

    def save(self) -> None:
        """Copy the local folder."""
        shutil.copytree(self.local, self.kept, dirs_exist_ok=True)

    def clear(self) -> None:
        """Remove the folder and the copy."""
        for folder in (self.local, self.kept):
            shutil.rmtree(folder, ignore_errors=True)


class CopyingStore(FolderStore):
    """A store in a folder with copied checkpoints."""

    def checkpoints(self, identity: str) -> CopiedCheckpoints:  # type: ignore[override]
        """Return the checkpoints of an unfinished task."""
        return CopiedCheckpoints(self.temporary / identity, self.root / "work" / identity)
