"""The destination of runs: a project on W&B's server, or W&B's offline files with a list of the complete ones."""

from dataclasses import dataclass
from pathlib import Path

from segsweep.records.lines import append_line, read_lines
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.wandb.server import Known, Server

WRITTEN = "offline.jsonl"  # in a study's W&B folder: the list of complete runs


@dataclass(frozen=True)
class Destination:
    """A project of W&B: on its `server`, or offline (`server` is None).

    Offline, nothing can be queried and only complete runs are written. `folder` contains W&B's local files.
    """

    folder: Path
    entity: str | None
    project: str
    server: Server | None

    @classmethod
    def of(cls, options: MirrorOptions, folder: Path) -> "Destination":
        """Return the destination that the options name."""
        entity, _, project = options.path.rpartition("/")
        if options.mode == "offline":
            return cls(folder, entity or None, project, None)
        server = Server(entity, project)
        return cls(folder, server.entity, project, server)

    def known(self, study: str, records_id: str) -> dict[str, Known]:
        """Return the runs of a study that were sent before, by their ids. Raises `UserError` as `Server.known` does."""
        if self.server is not None:
            return self.server.known(study, records_id)
        return {row["run"]: Known(row["sent"]) for row in read_lines(self.folder / WRITTEN)}

    def confirm(self, run_id: str, digest: str, epochs: int = 0, examples: bool = False) -> None:
        """Mark an ended run as completely sent. Raises `NotArrivedError` if W&B's server does not have all of it."""
        if self.server is not None:
            self.server.confirm(run_id, digest, epochs, examples)
        else:
            append_line(self.folder / WRITTEN, {"run": run_id, "sent": digest})
