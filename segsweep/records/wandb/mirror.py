"""The mirror, which sends each record of a task to W&B once."""

from dataclasses import dataclass, field
from typing import Any

import wandb

from segsweep.config.digest import digest
from segsweep.errors import LostArtifactError, UserError
from segsweep.records.confirmed_models import artifact_of
from segsweep.records.lines import Row
from segsweep.records.plan_status import PlanStatus
from segsweep.records.wandb import names
from segsweep.records.wandb.client import log_artifact, open_run, remove_files, set_config
from segsweep.records.wandb.destination import Destination
from segsweep.records.wandb.models import example_images, model_artifact
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.wandb.server import Arrived, Known
from segsweep.records.wandb.tail import Item
from segsweep.store.opening import open_store
from segsweep.store.protocol import Artifact

PLANNED = ("cell", "planned", "chosen")  # columns that depend on the plan, which may change after a record has ended


@dataclass
class OpenRun:
    """A run that is open in W&B's client.

    Attributes:
        run: The client's run.
        epochs: Numbers of the epochs that it has.
        keys: Keys of the results in its summary.
        examples: Whether its example predictions have arrived.
    """

    run: wandb.Run
    epochs: set[int]
    keys: set[str]
    examples: bool


@dataclass
class Mirror:
    """Sends items of one study to a destination.

    Sending raises any exception of W&B's client. The process must then end, and another must send the same items again: a run
    that the destination does not know as complete is compared with what has arrived and completed, so nothing arrives twice.

    Attributes:
        destination: Where to send.
        study: Name of the study.
        store: Location of the store with models and example images.
        options: Options of the mirror.
        known: Runs that were sent before, by run id.
    """

    destination: Destination
    study: str
    store: str
    options: MirrorOptions
    known: dict[str, Known]
    _open: dict[str, OpenRun] = field(default_factory=dict)  # by run id
    _ids: dict[str, str] = field(default_factory=dict)  # run ids by record ids
    _cells: dict[str, str] = field(default_factory=dict)  # recorded cell names of trials that have arrived

    def send(self, item: Item, plan_status: PlanStatus) -> bool:
        """Send what W&B lacks of an item, and return whether this call completed it."""
        if self.destination.server is None and not item.ended:
            return False
        run_id, content = self._run_id(item), self._digest(item)
        columns = plan_status.row(item.identity, item.row["cell"]) if item.table.planned else {}
        new = not item.ended or self.known.get(run_id, Known()).sent != content
        if new:
            self._send(run_id, item, {**item.row, **columns}, content)
        if not item.ended:
            return False
        if new:
            self.known[run_id] = Known(content, columns)
        if item.table.planned:
            self._cells[item.identity] = item.row["cell"]
            self._set_plan_status(item.identity, plan_status)
        return new

    def update_plan_status(self, plan_status: PlanStatus, final: bool = False) -> None:
        """Update the plan columns of ended runs after a new declaration or a cell's choice.

        `chosen` becomes false only at the end (`final`), since a restarted driver chooses the same settings again.
        """
        for identity in self._cells:
            self._set_plan_status(identity, plan_status, final)

    def close(self) -> None:
        """Close the runs of tasks that have not ended; the next start continues them."""
        for opened in self._open.values():
            opened.run.summary["status"] = "interrupted"
            opened.run.finish(exit_code=1)
            remove_files(opened.run)
        self._open.clear()

    def _set_plan_status(self, identity: str, plan_status: PlanStatus, final: bool = False) -> None:
        if self.destination.server is None:
            return
        run_id, columns = self._ids[identity], plan_status.row(identity, self._cells[identity])
        known = self.known[run_id]
        if known.plan_status.get("chosen") and not final:
            columns["chosen"] = True
        if dict(known.plan_status) != columns:
            self.destination.server.set_plan_status(run_id, columns)
            self.known[run_id] = Known(known.sent, columns)

    def _run_id(self, item: Item) -> str:
        if item.identity not in self._ids:
            wanted, study = names.run_id(item.identity), names.run_id(self.study)
            known = next((name for name in (f"{wanted}-{study}", wanted) if name in self.known), None)
            server = self.destination.server
            self._ids[item.identity] = known or (wanted if server is None else server.free_id(wanted, study))
        return self._ids[item.identity]

    def _digest(self, item: Item) -> str:
        """Return the digest of everything to send of an item, except its plan columns."""
        row = {name: value for name, value in item.row.items() if name not in PLANNED}
        weights = self.options.weights and item.made is not None
        return digest({"row": row, "epochs": len(item.epochs), "images": self._with_examples(item), "weights": weights})

    def _send(self, run_id: str, item: Item, row: Row, content: str) -> None:
        """Send the epochs and results that a run lacks; for an ended item also the rest, and check that it has arrived."""
        opened = self._open.get(run_id) or self._begin(run_id, item, row)
        for epoch in item.epochs:
            if epoch["epoch"] not in opened.epochs:
                opened.run.log({names.START: row["started_at"], **names.history_of(epoch)})
                opened.epochs.add(epoch["epoch"])
        results = names.summary_of(item.table, row)
        opened.run.summary.update(dict.fromkeys(opened.keys - set(results)) | results)  # clears results of an earlier attempt
        opened.keys = set(results)
        if item.ended:
            examples = self._end(opened, item, row)
            self.destination.confirm(run_id, content, len(item.epochs), examples)
            remove_files(self._open.pop(run_id).run)

    def _begin(self, run_id: str, item: Item, row: Row) -> OpenRun:
        """Open an item's run, and query which of its data has arrived before."""
        new, server = run_id not in self.known, self.destination.server
        arrived = Arrived() if new or server is None else server.arrived(run_id, row["started_at"])
        run = open_run(
            self.destination,
            run_id,
            new=new,
            name=item.table.title(row),
            group=self.study,
            job_type=item.table.job_type,
            tag=item.table.tag(row),
            config=_config(item, row),
        )
        keys = {key for key in arrived.summary_keys if names.is_result_key(item.table, key)}
        self._open[run_id] = OpenRun(run, set(arrived.epochs), keys, arrived.examples)
        return self._open[run_id]

    def _end(self, opened: OpenRun, item: Item, row: Row) -> bool:
        """Send the artifact and examples of an ended run, finish it, and return whether it has example predictions."""
        run, stored = opened.run, self._stored(item)
        set_config(run, _config(item, row))
        examples = []
        if stored is not None and self._with_examples(item):
            examples = example_images(stored.folder, stored.metadata.get("classes", ()))
        if examples and not opened.examples:
            run.log({names.EXAMPLES: examples})
        server = self.destination.server
        if server is not None and item.source is not None and (source := server.newest(names.source_artifact(item.source))):
            run.use_artifact(source, type=names.MODEL_TYPE)
        if stored is not None and item.made is not None:
            log_artifact(run, model_artifact(names.artifact(item.made, item.identity), stored.folder, self.options.weights))
        run.summary[names.EPOCHS] = len(item.epochs)
        run.finish(exit_code=0 if row["status"] in ("finished", "stopped") else 1)
        return bool(examples)

    def _with_examples(self, item: Item) -> bool:
        return self.options.images and item.made is not None and item.made.examples

    def _stored(self, item: Item) -> Artifact | None:
        """Return the artifact of a task; None if it made none, or if the artifact is missing or damaged."""
        if item.made is None:
            return None
        try:
            return artifact_of(item.made, item.row, open_store(self.store, create=False))
        except (LostArtifactError, UserError):
            return None


def _config(item: Item, row: Row) -> dict[str, Any]:
    """Return a run's config: the columns that are known before it runs, and the name of its source's artifact."""
    source = {} if item.source is None else {names.SOURCE_ARTIFACT: names.source_artifact(item.source)}
    return names.config_of(item.table, row) | source
