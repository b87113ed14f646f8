"""Fixtures: a study with everything that notebooks show, one that lacks much of it, and the places of records."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from wandb_server import isolated_server

import segsweep
from segsweep import LogUniform, Published, PublishedRun, Study, Target
from segsweep.data.scenes.dataset import GENERATED
from segsweep.records import load, reader
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.wandb.send import Sender, transfer
from segsweep.records.writer import RecordWriter
from segsweep.training.timings import Probe

PROJECT = "lab/streets"

CITY, SIMCLR = "supervised:generated_city@48", "simclr:generated_city@48"
OTHER = "unet16"
MEASURES = {
    **{f"test_{name}": 0.9 for name in ("iou", "f1", "accuracy", "precision", "recall", "dice", "weighted_iou", "mean_iou")},
    **{f"test_{name}": 0.1 for name in ("dice_loss", "focal_loss", "bce")},
    **{f"test_iou_{name}": 0.8 for name in ("background", "car", "traffic_sign")},
    **{f"val_{name}": 0.9 for name in ("iou", "dice", "accuracy")},
    "predict_seconds": 30.0,
}
CELL = {"source": CITY, "architecture": "unet4", "freeze": "none"}
SETTINGS = {"image_px": 32, "batch_size": 16, "source_epochs": 1, "ssl_epochs": 2, "ssl_batch_size": 16}
FULL = Study(
    name="street",
    target=Target("generated_street", protocol="70-10-20"),
    compare=[
        {"source": [CITY], "architecture": ["unet4"], "freeze": ["none", "encoder"], "fraction": [0.5]},
        {"source": ["random"], "architecture": ["unet4"], "freeze": ["none"], "fraction": [0.25, 0.5]},
        {"source": [SIMCLR], "architecture": ["unet4"], "freeze": ["none"], "fraction": [0.5]},
        {"source": ["random"], "architecture": [OTHER], "freeze": ["none"], "fraction": [0.5]},
    ],
    tune={"learning_rate": LogUniform(1e-4, 1e-2)},
    fixed={**SETTINGS, "epochs": 1, "domain_shift": "on"},
    trials_per_cell=1,
    seeds=2,
    published=Published(
        "a table",
        [
            PublishedRun("Before", CELL, MEASURES, before=True),
            PublishedRun("After", CELL, MEASURES),
            PublishedRun("Elsewhere", {**CELL, "architecture": "unet"}, MEASURES),
        ],
    ),
)
BARE = Study(
    name="bare",
    target=Target("generated_street", protocol="70-10-20"),
    compare=[
        {"source": ["random"], "ema": [None, 0.9]},
        {"source": [SIMCLR], "ema": [None], "ssl_temperature": [0.1, 0.5]},
        {"source": [CITY], "ema": [None], "transfer": ["encoder", "all"]},
    ],
    fixed={**SETTINGS, "architecture": "unet4", "epochs": 1, "learning_rate": 1e-3},
    seeds=1,
)


def run(study: Study, folder: Path) -> Path:
    """Run a study and return its folder. The city has few images, and no speed is measured to predict the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GENERATED, "generated_city", replace(GENERATED["generated_city"], count=60))
        patch.setattr("segsweep.training.speed._measure", lambda *_: Probe(1.0, 1.0, at=time.time()))
        segsweep.run(study, out=folder / "runs", runner="inline", device="cpu", threads=1)
    return folder / "runs" / study.name


@pytest.fixture(autouse=True, scope="module")
def _each_study_is_read_once() -> Iterator[None]:
    """Keep the records of a study for the next notebook."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "load", cache(reader.load))
        yield


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that has everything that notebooks show: some seconds on one core."""
    return run(FULL, tmp_path_factory.mktemp("notebooks"))


@pytest.fixture(scope="session")
def bare(full: Path) -> Path:
    """A study of one seed, one fraction and one architecture, without tuning, published numbers or shift, on the same store.

    It compares axes that no notebook names: one that is None for some cells, and two that only some sources have.
    """
    return run(BARE, full.parents[1])


@pytest.fixture(scope="session")
def begun(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The full study at its beginning: planned, with one source in training after one epoch, and nothing finished."""
    before = load(full)
    stage = before.stages[before.stages["stage"] == SIMCLR].iloc[0]
    epoch = before.epochs[before.epochs["trial_id"] == stage["stage_id"]].iloc[0]
    folder = Path(copytree(full, tmp_path_factory.mktemp("begun") / full.name))
    for name in ("parts", "index.jsonl"):
        rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    with RecordWriter(folder) as writer:
        columns = ["stage_id", "stage", "model", "settings", "source_seed"]
        writer.start("stages", stage["stage_id"], {"study": FULL.name, **stage[columns].to_dict()})
        writer.epoch(stage["stage_id"], epoch.dropna().drop(["study", "trial_id", "phase"]).to_dict())
        yield folder


@pytest.fixture(scope="module")
def homes(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Values of a notebook's `STUDY` for the full study: its folder, and its W&B project, which the environment names too."""
    folder = Path(copytree(full.parents[1], tmp_path_factory.mktemp("wandb") / "sent"))
    study = folder / "runs" / FULL.name
    with pytest.MonkeyPatch.context() as patch, isolated_server(folder / "client", patch):
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("WANDB_ENTITY", PROJECT.partition("/")[0])
        patch.setenv("WANDB_PROJECT", PROJECT.partition("/")[2])
        asked = MirrorOptions(mode="online", project=PROJECT)
        asked.save(study)
        transfer(Sender(study, asked))
        yield {"local": str(full), "wandb": f"wandb:{PROJECT}"}
