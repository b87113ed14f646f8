"""A text that is shared by a file."""

from dataclasses import dataclass
from pathlib import Path

from segsweep.files import replacing


@dataclass(frozen=True)
class TextFile:
    """A small text in a file below a folder. What its methods do, `segsweep.store.protocol.SharedText` says."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.root / self.name

    @property
    def location(self) -> str:
        """The file."""
        return str(self.path)

    def read(self) -> str:
        """Return the text."""
        return self.path.read_text(encoding="utf-8")

    def write(self, text: str) -> None:
        """Replace the text by rename; the folder of its group is made if need be, and never the root."""
        if self.path.parent != self.root:
            self.path.parent.mkdir(exist_ok=True)
        with replacing(self.path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)
