"""A shared text in a file."""

from dataclasses import dataclass
from pathlib import Path

from segsweep.files import replacing


@dataclass(frozen=True)
class TextFile:
    """A small text in a file of a folder; implements `segsweep.store.protocol.SharedText`."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.root / self.name

    @property
    def location(self) -> str:
        """The path of the file."""
        return str(self.path)

    def read(self) -> str:
        """Return the text."""
        return self.path.read_text(encoding="utf-8")

    def write(self, text: str) -> None:
        """Replace the text by rename, creating the folder of its group if necessary, but never the root."""
        if self.path.parent != self.root:
            self.path.parent.mkdir(exist_ok=True)
        with replacing(self.path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def remove(self) -> None:
        """Remove the file if it exists."""
        self.path.unlink(missing_ok=True)
