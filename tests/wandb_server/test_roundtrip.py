"""Data that the real client writes is read back by `wandb.Api()`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from PIL import Image

from wandb_server import WandbServer

CLASSES = {0: "background", 1: "figure"}


def log_trial(name: str, group: str = "study", epochs: int = 3, **config: Any) -> None:
    """Log one small run: config, history and summary."""
    with wandb.init(project="segsweep", id=name, group=group, config=config) as run:
        run.define_metric("val/*", step_metric="epoch")
        for epoch in range(epochs):
            run.log({"epoch": epoch, "val/iou": epoch / 10})
        run.summary["best/val_iou"] = config.get("score")


@pytest.mark.parametrize("lazy", [True, False])
def test_config_history_and_summary_come_back(wandb_server: WandbServer, lazy: bool) -> None:
    """Config, tags, every row of the history and the summary read as written; NaN reads as a text."""
    config = {"learning_rate": 0.1, "source": None, "nested": {"a": [1, 2]}}
    names: dict[str, Any] = {"id": "t1", "name": "first", "group": "study", "job_type": "finetune", "tags": ["unet"]}
    with wandb.init(project="segsweep", config=config, **names) as run:
        for epoch in range(4):
            loss = float("nan") if epoch == 2 else 0.5
            run.log({"epoch": epoch, "train/loss": loss, **({"test/iou": 0.5} if epoch == 3 else {})})
        run.summary["best/val_iou"] = 0.3
    (read,) = wandb.Api().runs("lab/segsweep", lazy=lazy)
    assert (read.id, read.name, read.group, read.job_type, read.tags) == ("t1", "first", "study", "finetune", ["unet"])
    assert (read.state, read.lastHistoryStep) == ("finished", 3)
    assert read.config == config
    assert (read.summary["best/val_iou"], read.summary["epoch"]) == (0.3, 3)
    assert [row["train/loss"] for row in read.scan_history()] == [0.5, 0.5, "NaN", 0.5]
    assert list(read.scan_history(keys=["epoch", "test/iou"])) == [{"_step": 3, "epoch": 3, "test/iou": 0.5}]
    assert read.history(keys=["epoch", "train/loss"])["epoch"].tolist() == [0, 1, 2, 3]
    assert wandb_server.calls["POST file_stream"] >= 1


def test_runs_are_filtered_ordered_and_paged(wandb_server: WandbServer) -> None:
    """A filter selects runs, an order sorts them with runs without the key last, and pages contain `per_page` runs."""
    for number, score in enumerate([0.2, 0.9, None, 0.5, 0.7]):
        log_trial(f"t{number}", "other" if number == 4 else "study", 1, score=score, size=number)
    api = wandb.Api()
    wandb_server.calls.clear()

    def ids(filters: dict[str, Any], order: str = "+created_at", per_page: int = 2) -> list[str]:
        return [run.id for run in api.runs("lab/segsweep", filters=filters, order=order, per_page=per_page, lazy=False)]

    assert ids({"group": "study"}) == ["t0", "t1", "t2", "t3"]
    assert wandb_server.calls["query Runs"] == 2
    assert ids({"group": "study"}, "-summary_metrics.best/val_iou", per_page=1000) == ["t1", "t3", "t0", "t2"]
    assert wandb_server.calls["query Runs"] == 3
    assert ids({"$or": [{"config.size": {"$lt": 1}}, {"config.size.value": {"$in": [4]}}]}) == ["t0", "t4"]
    assert ids({"summary_metrics.best/val_iou": {"$gte": 0.5}, "display_name": {"$regex": "t"}}) == ["t1", "t3", "t4"]
    assert len(api.runs("lab/segsweep", filters={"state": "finished"})) == 5


def test_images_and_tables_come_back(wandb_server: WandbServer, tmp_path: Path) -> None:
    """An image's masks and a table's rows can be downloaded, and the server lists the uploaded images."""
    mask = np.ones((8, 8), np.uint8)
    masks = {"prediction": {"mask_data": mask, "class_labels": CLASSES}}
    with wandb.init(project="segsweep", id="t1") as run:
        run.log({"val/examples": [wandb.Image(np.zeros((8, 8, 3), np.uint8), masks=masks)]})
        run.log({"results": wandb.Table(columns=["trial", "best"], data=[["a", 0.5], ["b", 0.6]])})
    read = wandb.Api().run("lab/segsweep/t1")
    (sent,) = read.files(pattern="media/images/mask/%")
    with sent.download(root=str(tmp_path)) as file:
        assert np.array_equal(np.asarray(Image.open(file.name)), mask)
    (logged,) = [artifact for artifact in read.logged_artifacts() if artifact.type == "run_table"]
    table = logged.get("results")
    assert isinstance(table, wandb.Table)
    assert table.data == [["a", 0.5], ["b", 0.6]]
    assert [name.split("/")[:3] for name in wandb_server.uploads if name.endswith(".png")] == [["t1", "media", "images"]] * 2
    (row,) = [row for row in read.scan_history() if "val/examples" in row]
    assert row["val/examples"]["all_masks"][0].keys() == {"prediction"}
