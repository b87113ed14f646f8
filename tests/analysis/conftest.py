"""A small real study with all that the notebooks show, its homes, and one kernel for all notebooks."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from wandb_server import isolated_server

import segsweep
from segsweep import LogUniform, Published, PublishedRun, Study, Target
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.wandb.send import Sender, transfer

PROJECT = "lab/streets"

CITY, SIMCLR = "supervised:generated_city@48", "simclr:generated_city@48"
OTHER = "unet-tu-mobilenetv3_small_050"
MEASURES = {
    **{f"test_{name}": 0.9 for name in ("iou", "f1", "accuracy", "precision", "recall", "dice", "weighted_iou", "mean_iou")},
    **{f"test_{name}": 0.1 for name in ("dice_loss", "focal_loss", "bce")},
    **{f"test_iou_{name}": 0.8 for name in ("background", "car", "traffic_sign")},
    "predict_seconds": 30.0,
}
CELL = {"source": CITY, "architecture": "unet16", "freeze": "none"}
FULL = Study(
    name="street",
    target=Target("generated_street", protocol="70-10-20"),
    compare=[
        {"source": ["random", CITY], "architecture": ["unet16"], "freeze": ["none", "encoder"], "fraction": [0.5]},
        {"source": ["random", CITY], "architecture": ["unet16"], "freeze": ["none"], "fraction": [0.25]},
        {"source": [SIMCLR], "architecture": ["unet16"], "freeze": ["none"], "fraction": [0.5]},
        {"source": ["random"], "architecture": [OTHER], "freeze": ["none"], "fraction": [0.5]},
    ],
    tune={"learning_rate": LogUniform(1e-4, 1e-2)},
    fixed={
        "image_px": 32,
        "epochs": 2,
        "batch_size": 16,
        "domain_shift": "on",
        "source_epochs": 1,
        "ssl_epochs": 2,
        "ssl_batch_size": 16,
    },
    trials_per_cell=2,
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


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that has all that notebooks ask for: some seconds on one core."""
    folder = tmp_path_factory.mktemp("notebooks")
    segsweep.run(FULL, out=folder / "runs", runner="inline", device="cpu", threads=1)
    return folder / "runs" / FULL.name


@pytest.fixture(scope="session")
def begun(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study, planned, of which nothing has run."""
    folder = Path(copytree(full, tmp_path_factory.mktemp("begun") / full.name))
    rmtree(folder / "parts")
    (folder / "choices.jsonl").write_text("")
    return folder


@pytest.fixture(scope="module")
def homes(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """What stands in a notebook's cell `STUDY` for the whole study: its folder, and where it was sent to."""
    folder = Path(copytree(full.parents[1], tmp_path_factory.mktemp("wandb") / "sent"))
    study = folder / "runs" / FULL.name
    with pytest.MonkeyPatch.context() as patch, isolated_server(folder / "client", patch):
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        asked = MirrorOptions(mode="online", project=PROJECT)
        asked.keep(study)
        transfer(Sender(study, asked))
        yield {"local": str(full), "wandb": f"wandb:{PROJECT}"}


@pytest.fixture(scope="module")
def kernel(homes: Mapping[str, str]) -> Iterator[BlockingKernelClient]:  # noqa: ARG001  # it finds W&B by the environment
    """A Python kernel that draws into the notebook, as Jupyter's does; one for all notebooks."""
    manager, client = start_new_kernel(env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
