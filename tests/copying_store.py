"""A store that keeps checkpoints elsewhere than workers write them: what was not saved is lost, as with an object store."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from segsweep.store.folder import FolderStore


@dataclass(frozen=True)
class CopiedCheckpoints:
    """Checkpoints in a local folder, of which `save` keeps a copy; opening them starts from the copy."""

    local: Path
    kept: Path

    def open(self) -> Path:
        """Return the local folder, which holds the copy and nothing else."""
        shutil.rmtree(self.local, ignore_errors=True)
        self.kept.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copytree(self.kept, self.local))

    def find(self) -> Path | None:
        """Return the copy, None where nothing was saved."""
        return self.kept if self.kept.is_dir() else None

    def save(self) -> None:
        """Keep a copy of the local folder."""
        shutil.copytree(self.local, self.kept, dirs_exist_ok=True)

    def clear(self) -> None:
        """Remove the folder and the copy."""
        for folder in (self.local, self.kept):
            shutil.rmtree(folder, ignore_errors=True)


class CopyingStore(FolderStore):
    """A folder whose checkpoints are copied."""

    def checkpoints(self, identity: str) -> CopiedCheckpoints:  # type: ignore[override]
        """Return the checkpoints of a piece of unfinished work."""
        return CopiedCheckpoints(self.temporary / identity, self.root / "work" / identity)
