"""Where runs are mirrored to, and what has arrived there: W&B's server, or for `offline` a ledger beside W&B's files."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import wandb

from segsweep.errors import UserError
from segsweep.records.lines import Row, append_line, read_lines
from segsweep.records.wandb.names import EPOCHS, EXAMPLES, SENT, START, summary_run
from segsweep.records.wandb.options import patience_seconds

PER_PAGE = 200
SECONDS = max(1, round(patience_seconds() / 2))  # for W&B's server to answer a question
LOOK_AGAIN_SECONDS = (0, 1, 3)  # what has arrived may be told of a little later


@dataclass(frozen=True)
class Known:
    """What a destination has of a run: the digest of all that was sent, None where not all has arrived; and how it is marked."""

    sent: str | None
    plan_status: Mapping[str, Any] = field(default_factory=dict)


class Destination(Protocol):
    """Where runs are mirrored to. `mode` is W&B's; `offline` takes only what has ended."""

    mode: str
    entity: str | None
    project: str

    def known(self, study: str, records_id: str) -> dict[str, Known]:
        """Return what is there of a study, by run id."""

    def free_id(self, identity: str, study: str) -> str:
        """Return the id for a run that is not there yet: another where another study of the project has it."""

    def epochs(self, run_id: str, started_at: float) -> set[int]:
        """Return which epochs of a run have arrived, of a trial that began then."""

    def summary_keys(self, run_id: str) -> set[str]:
        """Return which keys a run's summary has."""

    def has_artifact(self, name: str) -> bool:
        """Return whether there is an artifact of this name."""

    def has_examples(self, run_id: str) -> bool:
        """Return whether a run's example predictions have arrived, with all their files."""

    def confirm(self, run_id: str, digest: str, epochs: int, examples: bool) -> None:
        """Check that a run which has ended has arrived, with its `examples`, and mark it so. Raises `NotArrivedError`."""

    def set_plan_status(self, run_id: str, columns: Row) -> None:
        """Change how a run that has ended is marked."""


class NotArrivedError(Exception):
    """W&B took what was sent and does not have it."""


class Server:
    """W&B's server. It alone knows what has arrived: a run that is removed there is sent again."""

    mode = "online"

    def __init__(self, project: str) -> None:
        self._api = wandb.Api(timeout=SECONDS)
        entity, _, self.project = project.rpartition("/")
        self.entity: str | None = entity or self._api.default_entity

    def known(self, study: str, records_id: str) -> dict[str, Known]:
        """Return what is there. Raises `UserError` where other records of a study of this name are in the project."""
        path = self._path
        try:
            runs = self._api.runs(path, {"group": study}, per_page=PER_PAGE, lazy=False)
            found = {run.id: (run.config, run.summary) for run in runs}
        except ValueError:  # there is no such project yet
            return {}
        if summary_run(study) in found and found[summary_run(study)][0].get("records_id", records_id) != records_id:
            raise UserError(
                f"W&B project {path}: holds another study {study!r}, whose records lie elsewhere; choose another project "
                "(--wandb-project), or delete that study's runs there"
            )
        return {identity: _known(config, summary) for identity, (config, summary) in found.items()}

    def free_id(self, identity: str, study: str) -> str:
        """Return the id for a run that is not there yet: another where another study of the project has it."""
        try:
            (group,) = [run.group for run in self._api.runs(self._path, {"name": identity}, lazy=True)] or [study]
        except ValueError:  # there is no such project yet
            return identity
        return identity if group == study else f"{identity}-{study}"

    def epochs(self, run_id: str, started_at: float) -> set[int]:
        """Return which epochs of a run have arrived, of a trial that began then."""
        rows = self._run(run_id).scan_history(keys=["epoch", START])
        return {int(row["epoch"]) for row in rows if row[START] == started_at}

    def summary_keys(self, run_id: str) -> set[str]:
        """Return which keys a run's summary has."""
        return set(self._run(run_id).summary.keys())

    def has_artifact(self, name: str) -> bool:
        """Return whether there is an artifact of this name."""
        return bool(self._api.artifact_exists(name))

    def has_examples(self, run_id: str) -> bool:
        """Return whether a run's example predictions have arrived, with all their files."""
        run = self._run(run_id)
        wanted = set((run.summary.get(EXAMPLES) or {}).get("filenames", ()))
        return bool(wanted) and wanted <= {file.name for file in run.files(per_page=PER_PAGE)}

    def confirm(self, run_id: str, digest: str, epochs: int, examples: bool) -> None:
        """Check that a run which has ended has arrived, and mark it so: W&B's client does not tell of all that is refused."""
        for seconds in LOOK_AGAIN_SECONDS:
            time.sleep(seconds)
            run = self._run(run_id)
            if run.summary.get(EPOCHS) == epochs and (not examples or self.has_examples(run_id)):
                run.summary.update({SENT: digest})
                return
        raise NotArrivedError(f"run {run_id}: W&B has only a part of it")

    def set_plan_status(self, run_id: str, columns: Row) -> None:
        """Change how a run that has ended is marked."""
        run = self._run(run_id)
        run.config["cell"] = columns["cell"]
        run.update()
        run.summary.update({name: value for name, value in columns.items() if name != "cell"})

    @property
    def _path(self) -> str:
        return f"{self.entity}/{self.project}"

    def _run(self, run_id: str) -> Any:
        self._api.flush()  # type: ignore[no-untyped-call]  # it would remember a run as it was
        return self._api.run(f"{self._path}/{run_id}")


class Ledger:
    """W&B's files of offline runs, and a list of those that are written whole."""

    mode = "offline"

    def __init__(self, project: str, folder: Path) -> None:
        entity, _, self.project = project.rpartition("/")
        self.entity: str | None = entity or None
        self._path = folder / "offline.jsonl"

    def known(self, study: str, records_id: str) -> dict[str, Known]:  # noqa: ARG002
        """Return what was written. PlanStatus that changed afterwards are not written again."""
        return {row["run"]: Known(row["sent"]) for row in read_lines(self._path)}

    def free_id(self, identity: str, study: str) -> str:  # noqa: ARG002
        """Return the identity: nobody else writes here."""
        return identity

    def epochs(self, run_id: str, started_at: float) -> set[int]:  # noqa: ARG002
        """Return none: a run is written as a whole."""
        return set()

    def summary_keys(self, run_id: str) -> set[str]:  # noqa: ARG002
        """Return none: a run is written as a whole."""
        return set()

    def has_artifact(self, name: str) -> bool:  # noqa: ARG002
        """Return False: there is no looking into W&B from here."""
        return False

    def has_examples(self, run_id: str) -> bool:  # noqa: ARG002
        """Return False: a run is written as a whole."""
        return False

    def confirm(self, run_id: str, digest: str, epochs: int, examples: bool) -> None:  # noqa: ARG002
        """Note that a run is written."""
        append_line(self._path, {"run": run_id, "sent": digest})

    def set_plan_status(self, run_id: str, columns: Row) -> None:
        """Leave what is written as it is."""


def _known(config: Mapping[str, Any], summary: Mapping[str, Any]) -> Known:
    columns = {"cell": config.get("cell"), "planned": summary.get("planned"), "chosen": summary.get("chosen")}
    return Known(summary.get(SENT), {name: value for name, value in columns.items() if value is not None})
