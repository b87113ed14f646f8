"""The examples of sweeps/EXTENDING.md run: each trains, and its records show the object that the study file brings."""

import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from contracts.dataset import FolderDatasetContract
from extending_page import EXAMPLES, example
from PIL import Image

from segsweep.data.scenes.dataset import GENERATED
from segsweep.records import load

TINY = ("image_px=32", "trials_per_cell=1", "seeds=1", "batch_size=4")
NARROWED = {  # for a run of seconds; the objects stay
    "tiles": ("source=random", "architecture=unet4", "epochs=1"),
    "two_levels": (
        "architecture=own:two_levels",
        "target=generated_street",
        "source=supervised:generated_near@20",
        "validations=1",
        "steps=2",
        "source_steps=2",
    ),
    "tversky": ("architecture=unet4", "validations=1", "steps=2"),
    "rotation": ("architecture=unet4", "validations=1", "steps=2", "ssl_steps=2", "target=generated_street", "fraction=1"),
}
COUNTS = {"generated_near": 240, "generated_pets": 120}  # a source of the examples has 200 images


def write_tiles(folder: Path) -> Path:
    """Write twelve tiles of three scenes with masks in the example's colours."""
    rng = np.random.default_rng(0)
    colours = np.array([(0, 0, 0), (0, 0, 255), (0, 128, 0), (128, 128, 128)], np.uint8)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(12):
        mask = colours[rng.integers(0, 4, (4, 4)).repeat(8, 0).repeat(8, 1)]
        name = f"scene{number // 4}_{number:03d}.png"
        Image.fromarray(mask).save(folder / "masks" / name)
        Image.fromarray((mask // 2 + rng.integers(0, 99, mask.shape)).astype(np.uint8)).save(folder / "images" / name)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store that the examples share, so that generated images are prepared once. There are fewer images than in a run."""
    with pytest.MonkeyPatch.context() as patch:
        for name, count in COUNTS.items():
            patch.setitem(GENERATED, name, replace(GENERATED[name], count=count))
        yield tmp_path_factory.mktemp("extending") / "store"


@pytest.fixture
def trials(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], pd.DataFrame]:
    """Run an example of the page as a script, narrowed, and return the trials of its records."""
    write_tiles(tmp_path / "tiles")
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> pd.DataFrame:
        Path(f"{name}.py").write_text(EXAMPLES[name])
        sets = [part for text in (*TINY, *NARROWED[name]) for part in ("--set", text)]
        where = ["--runner", "inline", "--device", "cpu", "--threads", "1", "--out", "runs", "--store", str(store)]
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *where, *sets])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(f"{name}.py", run_name="__main__")
        assert not end.value.code
        return load(tmp_path / "runs" / name).trials

    return run


@pytest.mark.parametrize(
    ("name", "column", "shown"),
    [
        ("tiles", "target", {"own:tiles"}),
        ("two_levels", "architecture", {"own:two_levels"}),
        ("tversky", "loss", {"cross_entropy", "own:tversky"}),
        ("rotation", "source", {"random", "simclr:generated_near@200", "own:rotation:generated_near@200"}),
    ],
)
def test_an_example_trains(name: str, column: str, shown: set[str], trials: Callable[[str], pd.DataFrame]) -> None:
    """Every trial of the example finishes, and the records name its object where another study names one of the package."""
    found = trials(name)
    assert set(found["status"]) == {"finished"}
    assert found["test_iou"].notna().sum() == (found["phase"] == "confirm").sum() > 0
    if column == "target":
        study = load(Path("runs") / name).study
        assert study["target"]["name"] in shown
    else:
        assert set(found[column]) == shown


def test_every_example_is_run() -> None:
    """The page has these four examples and no other Python block."""
    assert list(EXAMPLES) == list(NARROWED)


class TestTheDatasetOfThePage(FolderDatasetContract):
    """The example's reader does what every reader of a folder must do."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_tiles(tmp_path / "tiles")

    @pytest.fixture
    def reader_of(self, tmp_path: Path) -> Callable[[Path], object]:
        return example("tiles", tmp_path).Tiles
