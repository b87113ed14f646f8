"""The mirror: sends trials and stages to W&B as the records tell of them, each once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb

from segsweep.config.digest import digest
from segsweep.errors import LostArtifactError, UserError
from segsweep.records.lines import Row
from segsweep.records.models import artifact_of
from segsweep.records.plan_status import PlanStatus
from segsweep.records.wandb import artifacts, names, pictures
from segsweep.records.wandb.client import open_run, remove_files
from segsweep.records.wandb.destination import Destination, Known
from segsweep.records.wandb.tail import Item
from segsweep.store.opening import open_store
from segsweep.store.protocol import Artifact

MARKED = ("cell", "planned", "chosen")
UNKNOWN = Known(None)


@dataclass(frozen=True)
class Wanted:
    """What is sent besides numbers: example predictions, and the weights of stages and confirmed runs."""

    images: bool = True
    weights: bool = True


@dataclass
class Mirror:
    """Sends items of one study to a destination. `folder` takes W&B's own files, `store` has models and pictures.

    Sending raises whatever W&B's client raises. The process is to end then, and another to send the same again: what a
    destination does not know to have arrived whole is compared with what is there and completed, so that nothing arrives twice.
    """

    destination: Destination
    study: Mapping[str, Any]
    folder: Path
    store: str
    wanted: Wanted
    _known: dict[str, Known] = field(default_factory=dict)
    _open: dict[str, wandb.Run] = field(default_factory=dict)
    _logged: dict[str, set[int]] = field(default_factory=dict)
    _keys: dict[str, set[str]] = field(default_factory=dict)  # of the results that an open run's summary has
    _ids: dict[str, str] = field(default_factory=dict)
    _cells: dict[str, tuple[str, str]] = field(default_factory=dict)  # run id of a trial that arrived -> its id, its own cell

    def __post_init__(self) -> None:
        self._known = self.destination.known(self.study["name"], self.study.get("records_id", ""))

    def known(self, run_id: str) -> Known | None:
        """Return what W&B had of a run at the start."""
        return self._known.get(run_id)

    def send(self, item: Item, plan_status: PlanStatus) -> bool:
        """Send what W&B does not have of a trial or a stage, and return whether it has arrived whole just now."""
        if not item.ended and self.destination.mode == "offline":
            return False
        new = False
        run_id, sent = self._run_id(item), self._digest(item)
        marked = plan_status.row(item.identity, item.row["cell"]) if item.table.planned else {}
        row = {**item.row, **marked}
        if not (item.ended and self._known.get(run_id, UNKNOWN).sent == sent):
            run = self._open.get(run_id) or self._begin(run_id, item, row)
            self._log_epochs(run_id, run, item)
            self._summarise(run_id, run, item, row)
            if not item.ended:
                return False
            examples = self._end(run_id, run, item, row)
            self.destination.confirm(run_id, sent, len(item.epochs), examples)
            self._known[run_id] = Known(sent, marked)
            self._forget(run_id)
            new = True
        if item.table.planned:
            self._cells[run_id] = (item.identity, item.row["cell"])
            self._mark(run_id, plan_status)
        return new

    def remark(self, plan_status: PlanStatus, final: bool = False) -> None:
        """Change how ended runs are marked, where the study was declared anew or a cell has chosen.

        That something is no longer chosen counts at the end alone: a driver that starts chooses anew what it had chosen.
        """
        for run_id in self._cells:
            self._mark(run_id, plan_status, final)

    def close(self) -> None:
        """Close the runs of what has not ended: the next start goes on with them."""
        for run_id, run in list(self._open.items()):
            run.summary["status"] = "interrupted"
            run.finish(exit_code=1)
            self._forget(run_id)

    def _mark(self, run_id: str, plan_status: PlanStatus, final: bool = False) -> None:
        known, marked = self._known[run_id], plan_status.row(*self._cells[run_id])
        if known.plan_status.get("chosen") and not final:
            marked["chosen"] = True
        if dict(known.plan_status) != marked:
            self.destination.set_plan_status(run_id, marked)
            self._known[run_id] = Known(known.sent, marked)

    def _run_id(self, item: Item) -> str:
        if item.identity not in self._ids:
            wanted, study = names.run_id(item.identity), names.run_id(self.study["name"])
            known = next((name for name in (f"{wanted}-{study}", wanted) if name in self._known), None)
            self._ids[item.identity] = known or self.destination.free_id(wanted, study)
        return self._ids[item.identity]

    def _digest(self, item: Item) -> str:
        """Return the digest of all that is to be sent of an item, but for its marks."""
        row = {name: value for name, value in item.row.items() if name not in MARKED}
        wanted = {"images": self.wanted.images and _has_examples(item), "weights": self.wanted.weights and item.made is not None}
        return digest({"row": row, "epochs": len(item.epochs), **wanted})

    def _begin(self, run_id: str, item: Item, row: Row) -> wandb.Run:
        """Open an item's run, and find out what of it has arrived before."""
        old = run_id in self._known
        self._logged[run_id] = self.destination.epochs(run_id, row["started_at"]) if old else set()
        keys = self.destination.summary_keys(run_id) if old else set()
        self._keys[run_id] = {key for key in keys if names.is_result_key(item.table, key)}
        run = open_run(
            self.destination,
            self.folder,
            run_id,
            new=not old,
            name=item.table.title(row),
            group=self.study["name"],
            job_type=item.table.job_type,
            config=_config(item, row),
            tags=[item.table.tag(row)],
        )
        self._open[run_id] = run
        self._known.setdefault(run_id, UNKNOWN)
        return run

    def _log_epochs(self, run_id: str, run: wandb.Run, item: Item) -> None:
        for epoch in item.epochs:
            if epoch["epoch"] not in self._logged[run_id]:
                run.log({names.START: item.row["started_at"], **names.history_of(epoch)})
                self._logged[run_id].add(epoch["epoch"])

    def _summarise(self, run_id: str, run: wandb.Run, item: Item, row: Row) -> None:
        """Write a row's results into a run's summary, and nothing in place of those that an earlier attempt left."""
        results = names.summary_of(item.table, row)
        run.summary.update(dict.fromkeys(self._keys[run_id] - set(results)) | results)
        self._keys[run_id] = set(results)

    def _end(self, run_id: str, run: wandb.Run, item: Item, row: Row) -> bool:
        """Send what an ended run leaves, close it, and return whether example predictions belong to it."""
        run.config.update(_config(item, row), allow_val_change=True)  # type: ignore[no-untyped-call]
        shown = self._examples(item) if self.wanted.images and _has_examples(item) else []
        if shown and not self.destination.has_examples(run_id):
            run.log({names.EXAMPLES: shown})
        self._link(run, item)
        run.summary[names.EPOCHS] = len(item.epochs)
        run.finish(exit_code=0 if item.row["status"] in ("finished", "stopped") else 1)
        return bool(shown)

    def _examples(self, item: Item) -> list[wandb.Image]:
        stored = self._stored(item)
        return pictures.examples(stored.folder, stored.metadata.get("classes", ())) if stored else []

    def _link(self, run: wandb.Run, item: Item) -> None:
        """Tell which stage's model the run began from, and keep the model that it came to."""
        online = self.destination.mode == "online"
        if online and (source := item.source) is not None:
            name = f"{self.destination.entity}/{self.destination.project}/{names.source_artifact(source)}:latest"
            if self.destination.has_artifact(name):
                run.use_artifact(name, type=artifacts.MODEL)
        if (made := item.made) is not None and (stored := self._stored(item)) is not None:
            name = names.artifact(made, item.identity)
            logged = run.log_artifact(artifacts.model(name, stored.folder, self.wanted.weights))
            if online:
                logged.wait(timeout=artifacts.SECONDS)

    def _stored(self, item: Item) -> Artifact | None:
        """Return what a stage or a confirmed run has built, as recorded; None where the store has it no more, or damaged."""
        if item.made is None:
            return None
        try:
            return artifact_of(item.made, item.row, open_store(self.store, create=False))
        except (LostArtifactError, UserError):
            return None

    def _forget(self, run_id: str) -> None:
        """Let go of a run that is closed, with W&B's files of it where they have been sent."""
        run = self._open.pop(run_id)
        del self._logged[run_id], self._keys[run_id]
        remove_files(run)


def _has_examples(item: Item) -> bool:
    return item.made is not None and item.made.examples


def _config(item: Item, row: Row) -> dict[str, Any]:
    """Return a run's config: what is known of it before it runs, and the artifact that it starts from."""
    source = {} if item.source is None else {names.SOURCE_ARTIFACT: names.source_artifact(item.source)}
    return names.config_of(item.table, row) | source
