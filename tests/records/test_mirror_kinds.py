"""The mirror handles any kind of task by its row: an added kind is sent and read back."""

from pathlib import Path

import pandas as pd
import pytest
import wandb

from segsweep.records import load
from segsweep.records.schema import SCHEMA_VERSION
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.wandb.send import Sender, transfer
from segsweep.records.writer import RecordWriter
from segsweep.tasks.kind import INTEGER, NUMBER, TEXT, Kind, RecordTable
from segsweep.tasks.kinds import KINDS

PROJECT = "lab/pets"
COLUMNS = {
    "study": TEXT,
    "toy_id": TEXT,
    "status": TEXT,
    "error": TEXT,
    "limit": INTEGER,
    "total": INTEGER,
    "mood": TEXT,
    "val_share": NUMBER,
    "starts": INTEGER,
    "start_number": INTEGER,
    "started_at": NUMBER,
    "ended_at": NUMBER,
    "seconds": NUMBER,
    "method_version": INTEGER,
    "schema_version": INTEGER,
}
TABLE = RecordTable(
    name="toys",
    identity="toy_id",
    columns=COLUMNS,
    job_type="toy",
    title=lambda row: f"count to {row['limit']}",
    tag=lambda row: "toy",  # noqa: ARG005
    measured=frozenset({"total", "mood"}),
)


@pytest.fixture(autouse=True)
def _toy_kind(tmp_path, monkeypatch, wandb_server):  # noqa: ARG001
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(KINDS, "toy", Kind("toys:count", TABLE, artifact=None, group_option="workers_per_trial"))


def write_toys(study: Path, total: int | None, again: bool = False) -> None:
    """Write the records of three toys: one fails unless it has a `total`, one finishes, one is still running."""
    with RecordWriter(study) as writer:
        writer.declare({"schema_version": SCHEMA_VERSION, "name": "s", "store": str(study.parent / "store")})
        writer.plan([])
        for name, limit in (("a", 3), ("b", 5), ("c", 7)) if not again else (("a", 3),):
            writer.start("toys", name, {"study": "s", "toy_id": name, "limit": limit}, again=again)
            writer.epoch(name, {"epoch": 1, "seconds": 0.5, "val_loss": limit / 2})
        if not again:
            writer.end("b", "finished", {"total": 15, "mood": "glad", "val_share": 0.25})
        ended = {"error": "lost count", "mood": "sad"} if total is None else {"total": total, "val_share": 0.5}
        writer.end("a", "failed" if total is None else "finished", ended)


def send(study: Path) -> None:
    options = MirrorOptions("online", PROJECT)
    options.save(study)
    transfer(Sender(study, options))


def test_records_of_a_new_kind_are_mirrored(tmp_path):
    """A kind without cell, artifact and source reads back from W&B as from its folder, also after a retry."""
    study = tmp_path / "runs" / "s"
    for total in (None, 6):
        write_toys(study, total, again=total is not None)
        send(study)
        local, mirrored = load(study), load(f"wandb:{PROJECT}")
        assert local.table("toys")["toy_id"].tolist()[:1] == ["b" if total else "a"]
        for name in ("toys", "all_toys", "epochs"):
            pd.testing.assert_frame_equal(local.table(name), mirrored.table(name), obj=name)
    run = wandb.Api().run(f"{PROJECT}/a")
    assert (run.job_type, run.name, run.tags, run.config["limit"]) == ("toy", "count to 3", ["toy"], 3)
    assert (run.summary["total"], run.summary["best/val_share"], run.summary.get("mood")) == (6, 0.5, None)
