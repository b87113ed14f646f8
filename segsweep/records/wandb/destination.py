"""Where runs are sent: to a project on W&B's server, or offline into W&B's own files, with a list of those that are whole."""

from dataclasses import dataclass
from pathlib import Path

from segsweep.records.lines import append_line, read_lines
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.wandb.server import Known, Server

WRITTEN = "offline.jsonl"  # in a study's folder of W&B: the runs that are written whole


@dataclass(frozen=True)
class Destination:
    """A project of W&B: on its `server`, or offline (`server` is None), where nothing can be asked and only whole runs are
    written. `folder` takes W&B's own files."""

    folder: Path
    entity: str | None
    project: str
    server: Server | None

    @classmethod
    def of(cls, options: MirrorOptions, folder: Path) -> "Destination":
        """Return the destination that options name."""
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
        """Mark that a run which has ended is sent whole. Raises `NotArrivedError` where W&B's server does not have it."""
        if self.server is not None:
            self.server.confirm(run_id, digest, epochs, examples)
        else:
            append_line(self.folder / WRITTEN, {"run": run_id, "sent": digest})
