"""The data of one task that the mirror sends, with stand-ins for W&B's client and server."""

from types import SimpleNamespace

import pytest

from segsweep.records.plan_status import PlanStatus
from segsweep.records.wandb import mirror
from segsweep.records.wandb.destination import Destination
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.wandb.server import Arrived, Known
from segsweep.records.wandb.tail import Item
from segsweep.tasks.trial_task import TRIAL_KIND

PLAN = PlanStatus({}, None, frozenset())
ROW = {"cell": "c", "phase": "tune", "seed": 1, "source": "random", "started_at": 5.0, "status": "running"}


class Run:
    """A run of W&B's client that keeps its epochs."""

    def __init__(self) -> None:
        self.epochs, self.summary, self.config = [], {}, {}

    def log(self, row):
        self.epochs.append(row["epoch"])

    def finish(self, exit_code):
        self.summary["exit_code"] = exit_code


@pytest.fixture
def runs(monkeypatch):
    """The runs that the client has opened."""
    opened = []
    monkeypatch.setattr(mirror, "open_run", lambda *_, **__: opened.append(Run()) or opened[-1])
    monkeypatch.setattr(mirror, "set_config", lambda run, config: run.config.update(config))
    monkeypatch.setattr(mirror, "remove_files", lambda _: None)
    return opened


def mirror_to(tmp_path, known: dict[str, Known], epochs: tuple[int, ...] = ()) -> mirror.Mirror:
    """Return a mirror to a server that has the `known` runs, and these epochs of each."""
    server = SimpleNamespace(
        arrived=lambda *_: Arrived(frozenset(epochs)),
        free_id=lambda run_id, _: run_id,
        confirm=lambda *_: None,
        set_plan_status=lambda *_: None,
    )
    return mirror.Mirror(Destination(tmp_path, "lab", "pets", server), "s", str(tmp_path), MirrorOptions("online"), known)


def item(epochs: int, **columns) -> Item:
    """Return the record of a trial with some epochs."""
    rows = tuple({"epoch": number, "val_iou": number / 10} for number in range(1, epochs + 1))
    return Item(TRIAL_KIND.table, "t", {**ROW, **columns}, rows)


def test_only_epochs_that_have_not_arrived_are_sent(tmp_path, runs):
    """An attempt sends the epochs of a running trial that W&B lacks, each once."""
    sending = mirror_to(tmp_path, {"t": Known()}, (1, 2))
    for count in (3, 3, 4):
        assert not sending.send(item(count), PLAN)
    assert [run.epochs for run in runs] == [[3, 4]]


def test_a_complete_run_is_not_opened_again(tmp_path, runs):
    """An ended trial is sent once, and again only after its record has changed."""
    known: dict[str, Known] = {}
    assert mirror_to(tmp_path, known).send(item(2, status="stopped"), PLAN)
    assert not mirror_to(tmp_path, known).send(item(2, status="stopped"), PLAN)
    assert [run.epochs for run in runs] == [[1, 2]]
    assert mirror_to(tmp_path, known, (1, 2)).send(item(3, status="stopped"), PLAN)
    assert [run.epochs for run in runs] == [[1, 2], [3]]
