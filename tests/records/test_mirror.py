"""The mirror of real records, sent by the real client to the server in `tests/wandb_server`."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wandb
from PIL import Image
from study_copy import copy_of_study
from wandb_server import WandbServer, isolated_server

from segsweep.errors import UserError
from segsweep.records import load
from segsweep.records.lines import read_study, write_object
from segsweep.records.parts import forget_choices, read_index
from segsweep.records.query import with_all_rows
from segsweep.records.schema import SCHEMA_VERSION, TABLES
from segsweep.records.wandb.destination import Destination
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.wandb.send import Sender, transfer
from segsweep.records.wandb.state import read_state
from segsweep.records.wandb.study_run import StudyRun
from segsweep.records.writer import RecordWriter
from segsweep.report.status import status_of

PROJECT = "lab/pets"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def send(study: Path, **options) -> None:
    """Send a study in this process, as an attempt of the mirror does."""
    asked = MirrorOptions(**{"mode": "online", "project": PROJECT, **options})
    asked.save(study)
    sender = Sender(study, asked)
    transfer(sender)
    sender.report(done=True)


def changes(server: WandbServer) -> dict[str, int]:
    """Return the clients' requests that change data, and reset the list."""
    asked = {kind: count for kind, count in server.calls.items() if kind.startswith(("mutation", "PUT", "POST"))}
    server.calls.clear()
    return asked


def assert_equal(left, right) -> None:
    for table in (*TABLES, *map(with_all_rows, TABLES)):
        pd.testing.assert_frame_equal(getattr(left, table), getattr(right, table), obj=table)
    assert left.choices == right.choices


@pytest.fixture
def study(copy_of_finished) -> Path:
    return copy_of_finished / "runs" / "tiny"


@pytest.fixture(scope="module")
def sent(finished, tmp_path_factory) -> Iterator[Path]:
    """A study that was mirrored once, with its running server. Tests must not change it."""
    folder = tmp_path_factory.mktemp("sent")
    study = copy_of_study(finished, folder / "copy") / "runs" / "tiny"
    with pytest.MonkeyPatch.context() as patch, isolated_server(folder / "wandb", patch):
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        send(study)
        yield study


def test_folder_and_wandb_give_the_same_tables(sent):
    """A study read back from W&B has the tables, columns, types and values of its folder."""
    local, mirrored = load(sent), load(f"wandb:{PROJECT}")
    assert len(local.trials) == 6
    assert len(local.images)
    assert len(local.confusions)
    assert_equal(local, mirrored)
    assert_equal(mirrored, load(f"wandb:{PROJECT}", study="tiny"))
    assert_equal(mirrored, load(f"wandb:{PROJECT}/tiny"))


def test_the_status_of_a_mirrored_study_is_that_of_its_folder(sent):
    """`segsweep status wandb:ENTITY/PROJECT` counts the same trials, stages and cells; W&B has no driver status."""
    local, mirrored = status_of(load(sent), alive=False), status_of(load(f"wandb:{PROJECT}"))
    assert (mirrored.state, mirrored.trials, mirrored.stages) == ("finished", local.trials, local.stages)
    assert mirrored.cells == local.cells
    assert mirrored.driver is None


def test_sending_again_changes_nothing(study, wandb_server):
    """Data that has arrived is not sent again."""
    send(study)
    assert changes(wandb_server)
    send(study)
    assert changes(wandb_server) == {}


def test_another_question_or_start_is_sent_with_the_next_change(finished: Path, tmp_path: Path) -> None:
    """The question and the starts of a study do not change the digest of what is sent at its end; its declaration does."""
    study = load(finished / "runs" / "tiny").study
    destination = Destination.of(MirrorOptions("offline"), tmp_path)
    run = StudyRun(destination, finished / "runs" / "tiny", images=False, known=None)
    assert run._digest({**study, "question": "another", "starts": []}) == run._digest(study)
    assert run._digest({**study, "seeds": 9}) != run._digest(study)


@pytest.mark.usefixtures("wandb_server")
def test_a_restarted_study_stays_readable_in_wandb(study):
    """During a restart of a finished study, and afterwards, the whole study can be read from W&B."""
    send(study)
    whole = load(study)
    forget_choices(study, read_index(study))  # the state while a driver starts
    sender = Sender(study, MirrorOptions("online", PROJECT))
    sender.study_run.begin(sender.study)
    sender.look()
    mirrored = load(f"wandb:{PROJECT}")
    write_choices(study, whole)
    sender.look()
    sender.end()
    for table in ("epochs", "images", "counts", "stages", "scores", "confusions"):
        pd.testing.assert_frame_equal(getattr(whole, table), getattr(mirrored, table), obj=table)
    assert mirrored.trials["chosen"].sum() == whole.trials["chosen"].sum()
    assert_equal(whole, load(f"wandb:{PROJECT}"))
    assert wandb.Api().run(f"{PROJECT}/summary-tiny").state == "finished"


def write_choices(study: Path, records) -> None:
    (study / "choices.jsonl").write_text("".join(f"{json.dumps(choice)}\n" for choice in records.choices.values()))


@pytest.mark.usefixtures("wandb_server")
@pytest.mark.parametrize("broken", ["failed", "interrupted"])
@pytest.mark.parametrize("longer", [False, True], ids=["shorter", "longer"])
def test_an_attempt_leaves_no_trace_in_the_next(broken, longer, tmp_path, write_attempt):
    """A failed trial that restarts, or an interrupted one that resumes, reads back as it ended, without old values."""
    study = tmp_path / "runs" / "s"
    write_attempt(study, broken, epochs=2, offset=0.0, columns={"error": "boom", "val_iou": 0.1, "val_f1": 0.2})
    send(study)
    assert_equal(load(study), load(f"wandb:{PROJECT}"))
    again = broken == "failed"
    write_attempt(
        study, "finished", epochs=3 if longer or not again else 1, offset=0.5 * again, columns={"val_iou": 0.9}, again=again
    )
    send(study)
    assert_equal(load(study), load(f"wandb:{PROJECT}"))


@pytest.fixture
def write_attempt(start_columns, epoch_row):
    """Write an attempt of a trial with a real record writer."""

    def write(study: Path, status: str, *, epochs: int, offset: float, columns, again: bool = False) -> None:
        with RecordWriter(study) as writer:
            writer.declare({"schema_version": SCHEMA_VERSION, "name": "s", "store": str(study.parent / "store")})
            writer.start("trials", "a", start_columns("a"), again=again)
            for number in range(1, epochs + 1):
                writer.epoch("a", epoch_row(number, val_iou=number / 10 + offset))
            writer.end("a", status, columns)

    return write


@pytest.mark.usefixtures("wandb_server")
def test_folder_and_wandb_leave_out_abandoned_trials(study):
    """After a study is reduced to one of two cells, both show only its trials; the `all_` tables show everything."""
    before = load(study)
    cell = before.trials["cell"].iloc[-1]
    rows = before.trials[before.trials["cell"] == cell]
    with RecordWriter(study) as writer:
        writer.plan(rows[["trial_id", "cell", "phase", "seed", "stage_id"]].to_dict("records"), list(rows["stage_id"].unique()))
        writer.choose(cell, before.choices[cell])
    send(study)
    local = load(study)
    assert_equal(local, load(f"wandb:{PROJECT}"))
    assert (len(local.trials), len(local.all_trials)) == (3, 6)
    assert set(local.images["trial_id"]) == set(rows.loc[rows["phase"] == "confirm", "trial_id"])


def test_runs_are_found_by_settings_and_results(sent):
    """Runs can be filtered and ordered by settings and results, and have their group, job type and state."""
    trials = load(sent).trials
    filters = {"group": "tiny", "jobType": "finetune", "config.phase": "confirm", "config.source": "random"}
    found = wandb.Api().runs(PROJECT, filters, order="-summary_metrics.test/iou", lazy=False)
    wanted = trials[(trials["phase"] == "confirm") & (trials["source"] == "random")].sort_values("test_iou", ascending=False)
    assert [run.id for run in found] == wanted["trial_id"].tolist()
    assert [run.summary["best/val_iou"] for run in found] == wanted["val_iou"].tolist()
    assert {run.state for run in found} == {"finished"}
    jobs = [run.job_type for run in wandb.Api().runs(PROJECT, lazy=False)]
    assert sorted(jobs) == ["finetune"] * 6 + ["score"] * 2 + ["stage", "summary"]


def test_epochs_are_logged_against_their_number(sent):
    """A run's history has each epoch once, with the key names that W&B users expect."""
    records = load(sent)
    trial = records.trials["trial_id"].iloc[0]
    history = [row for row in wandb.Api().run(f"{PROJECT}/{trial}").scan_history() if "epoch" in row]
    epochs = records.epochs[records.epochs["trial_id"] == trial]
    assert [row["epoch"] for row in history] == epochs["epoch"].tolist()
    assert [row["val/iou"] for row in history] == epochs["val_iou"].tolist()
    assert [row["train/loss"] for row in history] == epochs["train_loss"].tolist()


def test_a_confirmed_run_shows_its_predictions(sent, tmp_path):
    """Example images have true and predicted masks and the names of the classes."""
    trial, key = load(sent).trials.query("phase == 'confirm'")[["trial_id", "model_key"]].iloc[0]
    run = wandb.Api().run(f"{PROJECT}/{trial}")
    shown = run.summary["examples/test"]
    assert shown["count"] == 6
    masks = shown["all_masks"][0]
    assert sorted(masks) == ["ground_truth", "prediction"]
    files = {file.name for file in run.files(per_page=100)}
    assert set(shown["filenames"]) <= files
    with run.file(masks["prediction"]["path"]).download(root=str(tmp_path)) as file:
        shown = np.asarray(Image.open(file.name))
    stored = sent.parents[1] / "store" / "model" / key / "example-0-predicted.png"
    assert np.array_equal(shown, np.asarray(Image.open(stored)))


def test_lineage_leads_from_a_source_to_its_trials(sent, tmp_path):
    """A stage logs its model, each trial that starts from it uses that model, and a confirmed run logs its own unchanged."""
    records = load(sent)
    stage = records.stages.iloc[0]
    made = wandb.Api().artifact(f"{PROJECT}/stage-{stage['stage_id']}:latest")
    assert made.logged_by().id == stage["stage_id"]
    fromit = records.trials[records.trials["stage_id"] == stage["stage_id"]]["trial_id"]
    assert sorted(run.id for run in made.used_by()) == sorted(fromit)
    assert len(fromit) == 3
    confirmed, key = records.trials.query("phase == 'confirm'")[["trial_id", "model_key"]].iloc[0]
    folder = Path(wandb.Api().artifact(f"{PROJECT}/model-{confirmed}:latest").download(root=str(tmp_path / "model")))
    stored = sent.parents[1] / "store" / "model" / key / "weights.safetensors"
    assert (folder / "weights.safetensors").read_bytes() == stored.read_bytes()
    models = {artifact.name for run in wandb.Api().runs(PROJECT, {"config.phase": "tune"}) for artifact in run.logged_artifacts()}
    assert not models


def test_images_and_weights_can_be_withheld(study, wandb_server):
    """Without `images` no image, without `weights` no weights leave the machine; the tables are the same."""
    Image.new("RGB", (9, 9)).save(study / "predictions.png")
    send(study, images=False, weights=False)
    assert not [name for name in wandb_server.uploads if name.endswith((".png", ".gif", ".jpg", ".safetensors"))]
    local, mirrored = load(study), load(f"wandb:{PROJECT}")
    for own, theirs in ((local.images, mirrored.images), (local.counts, mirrored.counts)):
        assert not set(theirs["image"]) & set(own["image"])
        assert theirs["image"].nunique() == own["image"].nunique() > 0
        pd.testing.assert_frame_equal(own.drop(columns="image"), theirs.drop(columns="image"))
    theirs = {name: getattr(mirrored, name) for name in ("images", "counts", "all_images", "all_counts")}
    assert_equal(replace(local, **theirs), mirrored)
    sent = b"".join(path.read_bytes() for path in (study.parents[1] / "server").rglob("*") if path.is_file())
    assert str(study).encode() not in sent
    stage = load(study).stages["stage_id"].iloc[0]
    index = wandb.Api().artifact(f"{PROJECT}/stage-{stage}:latest").download(root=str(study / "index"))
    assert json.loads((Path(index) / "artifact.json").read_text())["content_hash"] == load(study).stages["content_hash"].iloc[0]
    send(study, images=True, weights=True)
    assert [name for name in wandb_server.uploads if name.endswith(".png")]


@pytest.mark.usefixtures("wandb_server")
def test_the_summary_run_holds_the_result_table(study):
    """The study's summary run has the table, the numbers of trials and the figure of predictions."""
    (study / "table.csv").write_text("cell,test_iou\na,0.5\nb,0.25\n")
    Image.new("RGB", (9, 9)).save(study / "predictions.png")
    send(study)
    run = wandb.Api().run(f"{PROJECT}/summary-tiny")
    (table,) = [artifact for artifact in run.logged_artifacts() if artifact.type == "run_table"]
    assert table.get("results").get_dataframe()["test_iou"].tolist() == [0.5, 0.25]
    assert run.summary["trials/finished"] == 6
    assert run.summary["predictions"]["width"] == 9


@pytest.mark.usefixtures("wandb_server")
def test_two_studies_share_a_project(study, tmp_path):
    """A trial of two studies is in W&B twice, once for each study, and both studies read back completely."""
    other = Path(shutil.copytree(study, tmp_path / "runs" / "other"))
    write_object(other / "study.json", {**read_study(other), "name": "other", "records_id": "another"})
    send(study)
    send(other)
    assert_equal(load(study), load(f"wandb:{PROJECT}", study="tiny"))
    assert_equal(load(other), load(f"wandb:{PROJECT}", study="other"))
    with pytest.raises(UserError, match="contains the studies other, tiny; name one with study="):
        load(f"wandb:{PROJECT}")


@pytest.mark.usefixtures("wandb_server")
def test_records_of_another_study_of_the_same_name_are_refused(study):
    """Two studies with one name do not mix in a project."""
    send(study)
    write_object(study / "study.json", {**read_study(study), "records_id": "another"})
    with pytest.raises(UserError, match=r"contains another study 'tiny'.*--wandb-project"):
        send(study)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("wandb:lab/nothing", "lab/nothing"),
        ("wandb:lab", "write wandb:ENTITY/PROJECT"),
        ("wandb:/", "write wandb:ENTITY/PROJECT"),
        (f"wandb:{PROJECT}/missing", "no study 'missing'.*contains the studies tiny"),
    ],
)
@pytest.mark.usefixtures("sent")
def test_a_missing_project_or_study_is_one_line(source, message):
    """A project or study that W&B does not have raises one line."""
    with pytest.raises(UserError, match=message):
        load(source)


@pytest.mark.usefixtures("wandb_server")
def test_offline_runs_are_synced_afterwards(study):
    """Offline runs arrive by W&B's `wandb sync`; a later sync of the study completes them without duplicates."""
    send(study, mode="offline")
    folders = sorted(str(path) for path in (study / "wandb" / "wandb").glob("offline-run-*"))
    assert len(folders) == 10
    send(study, mode="offline")
    assert len(list((study / "wandb" / "wandb").glob("offline-run-*"))) == 10
    subprocess.run([sys.executable, "-m", "wandb", "sync", "--no-include-synced", *folders], check=True, capture_output=True)
    assert_equal(load(study), load(f"wandb:{PROJECT}"))
    send(study, mode="online")
    assert_equal(load(study), load(f"wandb:{PROJECT}"))
    for run in wandb.Api().runs(PROJECT, {"jobType": "finetune"}):
        rows = list(run.scan_history())
        epochs = [row["epoch"] for row in rows if row.get("epoch") is not None]
        assert len(epochs) == len(set(epochs)) == 2
        assert len([row for row in rows if row.get("examples/test")]) <= 1
    assert read_state(study)["done"]
