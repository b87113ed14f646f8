"""W&B's server: what of a study has arrived there. It alone knows: a run that is removed there is sent again."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import wandb

from segsweep.errors import UserError
from segsweep.records.lines import Row
from segsweep.records.wandb.names import EPOCHS, EXAMPLES, SENT, START, summary_run
from segsweep.records.wandb.options import patience_seconds

PER_PAGE = 200
LOOK_AGAIN_SECONDS = (0, 1, 3)  # what has arrived may be seen a little later


@dataclass(frozen=True)
class Known:
    """A run that was sent before: the digest of what was sent, None where not all has arrived, and its columns of the plan."""

    sent: str | None = None
    plan_status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrived:
    """What of a run has arrived: the numbers of epochs, the keys of its summary, and whether all example predictions have."""

    epochs: frozenset[int] = frozenset()
    summary_keys: frozenset[str] = frozenset()
    examples: bool = False


class NotArrivedError(Exception):
    """W&B took what was sent and does not have it."""


class Server:
    """A project on W&B's server."""

    def __init__(self, entity: str, project: str) -> None:
        self._api = wandb.Api(timeout=max(1, round(patience_seconds() / 2)))
        self.entity: str | None = entity or self._api.default_entity
        self._path = f"{self.entity}/{project}"

    def known(self, study: str, records_id: str) -> dict[str, Known]:
        """Return the runs of a study by their ids. Raises `UserError` where other records of a study of this name are there."""
        try:
            runs = self._api.runs(self._path, {"group": study}, per_page=PER_PAGE, lazy=False)
            found = {run.id: (run.config, run.summary) for run in runs}
        except ValueError:  # there is no such project yet
            return {}
        if summary_run(study) in found and found[summary_run(study)][0].get("records_id", records_id) != records_id:
            raise UserError(
                f"W&B project {self._path}: holds another study {study!r}, whose records lie elsewhere; choose another project "
                "(--wandb-project), or delete that study's runs there"
            )
        return {run_id: _known(config, summary) for run_id, (config, summary) in found.items()}

    def free_id(self, run_id: str, study: str) -> str:
        """Return the id for a run that is not there yet: another where another study of the project has it."""
        try:
            (group,) = [run.group for run in self._api.runs(self._path, {"name": run_id}, lazy=True)] or [study]
        except ValueError:  # there is no such project yet
            return run_id
        return run_id if group == study else f"{run_id}-{study}"

    def arrived(self, run_id: str, started_at: float) -> Arrived:
        """Return what of a run has arrived. Epochs are those of the attempt that began at `started_at`."""
        run = self._run(run_id)
        rows = run.scan_history(keys=["epoch", START])
        epochs = frozenset(int(row["epoch"]) for row in rows if row[START] == started_at)
        return Arrived(epochs, frozenset(run.summary.keys()), _has_examples(run))

    def newest(self, artifact: str) -> str | None:
        """Return the full name of the newest version of an artifact, None where there is none."""
        name = f"{self._path}/{artifact}:latest"
        return name if self._api.artifact_exists(name) else None

    def confirm(self, run_id: str, digest: str, epochs: int, examples: bool) -> None:
        """Check that a run which has ended has arrived whole, and mark it so: W&B's client does not report all that is refused.

        Raises `NotArrivedError`.
        """
        for seconds in LOOK_AGAIN_SECONDS:
            time.sleep(seconds)
            run = self._run(run_id)
            if run.summary.get(EPOCHS) == epochs and (not examples or _has_examples(run)):
                run.summary.update({SENT: digest})
                return
        raise NotArrivedError(f"run {run_id}: W&B has only a part of it")

    def set_plan_status(self, run_id: str, columns: Row) -> None:
        """Change the columns of the plan of a run that has ended."""
        run = self._run(run_id)
        run.config["cell"] = columns["cell"]
        run.update()
        run.summary.update({name: value for name, value in columns.items() if name != "cell"})

    def _run(self, run_id: str) -> Any:
        self._api.flush()  # type: ignore[no-untyped-call]  # it would remember a run as it was
        return self._api.run(f"{self._path}/{run_id}")


def _known(config: Mapping[str, Any], summary: Mapping[str, Any]) -> Known:
    columns = {"cell": config.get("cell"), "planned": summary.get("planned"), "chosen": summary.get("chosen")}
    return Known(summary.get(SENT), {name: value for name, value in columns.items() if value is not None})


def _has_examples(run: Any) -> bool:
    """Return whether a run's example predictions have arrived, with all their files."""
    wanted = set((run.summary.get(EXAMPLES) or {}).get("filenames", ()))
    return bool(wanted) and wanted <= {file.name for file in run.files(per_page=PER_PAGE)}
