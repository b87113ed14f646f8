"""W&B's server, which alone knows which data of a study has arrived: a run that is deleted there is sent again."""

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
LOOK_AGAIN_SECONDS = (0, 1, 3)  # arrived data may become visible after a delay


@dataclass(frozen=True)
class Known:
    """A run that was sent before: the digest of the sent data (None if incomplete), and its plan columns."""

    sent: str | None = None
    plan_status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrived:
    """The arrived data of a run: its epochs' numbers, its summary's keys, and whether all example predictions are there."""

    epochs: frozenset[int] = frozenset()
    summary_keys: frozenset[str] = frozenset()
    examples: bool = False


class NotArrivedError(Exception):
    """W&B accepted data but does not have it."""


class Server:
    """A project on W&B's server."""

    def __init__(self, entity: str, project: str) -> None:
        self._api = wandb.Api(timeout=max(1, round(patience_seconds() / 2)))
        self.entity: str | None = entity or self._api.default_entity
        self._path = f"{self.entity}/{project}"

    def known(self, study: str, records_id: str) -> dict[str, Known]:
        """Return the runs of a study by their ids.

        Raises `UserError` if the project contains other records of a study with the same name.
        """
        try:
            runs = self._api.runs(self._path, {"group": study}, per_page=PER_PAGE, lazy=False)
            found = {run.id: (run.config, run.summary) for run in runs}
        except ValueError:  # there is no such project yet
            return {}
        if summary_run(study) in found and found[summary_run(study)][0].get("records_id", records_id) != records_id:
            raise UserError(
                f"W&B project {self._path}: contains another study {study!r} with other records; choose another project "
                "(--wandb-project), or delete that study's runs there"
            )
        return {run_id: _known(config, summary) for run_id, (config, summary) in found.items()}

    def free_id(self, run_id: str, study: str) -> str:
        """Return an id for a new run: `run_id`, or another if a different study of the project uses it."""
        try:
            (group,) = [run.group for run in self._api.runs(self._path, {"name": run_id}, lazy=True)] or [study]
        except ValueError:  # there is no such project yet
            return run_id
        return run_id if group == study else f"{run_id}-{study}"

    def arrived(self, run_id: str, started_at: float) -> Arrived:
        """Return the data of a run that has arrived. Epochs are those of the attempt that started at `started_at`."""
        run = self._run(run_id)
        rows = run.scan_history(keys=["epoch", START])
        epochs = frozenset(int(row["epoch"]) for row in rows if row[START] == started_at)
        return Arrived(epochs, frozenset(run.summary.keys()), _has_examples(run))

    def newest(self, artifact: str) -> str | None:
        """Return the full name of the newest version of an artifact; None if there is none."""
        name = f"{self._path}/{artifact}:latest"
        return name if self._api.artifact_exists(name) else None

    def confirm(self, run_id: str, digest: str, epochs: int, examples: bool) -> None:
        """Check that an ended run has arrived completely, and mark it: W&B's client does not report all rejected data.

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
        """Update the plan columns of an ended run."""
        run = self._run(run_id)
        run.config["cell"] = columns["cell"]
        run.update()
        run.summary.update({name: value for name, value in columns.items() if name != "cell"})

    def _run(self, run_id: str) -> Any:
        self._api.flush()  # type: ignore[no-untyped-call]  # otherwise it returns a cached run
        return self._api.run(f"{self._path}/{run_id}")


def _known(config: Mapping[str, Any], summary: Mapping[str, Any]) -> Known:
    columns = {"cell": config.get("cell"), "planned": summary.get("planned"), "chosen": summary.get("chosen")}
    return Known(summary.get(SENT), {name: value for name, value in columns.items() if value is not None})


def _has_examples(run: Any) -> bool:
    """Return whether a run's example predictions have arrived with all their files."""
    wanted = set((run.summary.get(EXAMPLES) or {}).get("filenames", ()))
    return bool(wanted) and wanted <= {file.name for file in run.files(per_page=PER_PAGE)}
