"""Small datasets in real files, and the study that most tests run."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image, ImageDraw

from segsweep.config import LogUniform, Search, Study, Target

if TYPE_CHECKING:
    from forked_commands import Forks
    from wandb_server import WandbServer

pytest.register_assert_rewrite("contracts")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the commands that tests start, too
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, tests and the commands that they start begin sooner
sys.dont_write_bytecode = False

Once = Callable[[str, Callable[[Path], object]], Path]  # see the fixture `once`
MEMORY_DISK = Path("/dev/shm")
MEMORY_DISK_GB = 4


def pytest_configure() -> None:
    """Put temporary folders into memory if there is room: the tested code syncs every file to disk."""
    if MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free > MEMORY_DISK_GB * 1e9:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that start Ray, which need the whole machine."""
    for item in items:
        if item.path.parent.name == "ray_runner":
            item.add_marker(pytest.mark.ray)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put marks of verified artifacts into a folder of the tests; use published weights from the user's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = {"HF_HOME": str(home / "huggingface"), "TORCH_HOME": str(home / "torch"), **os.environ}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", places["HF_HOME"])
        patch.setenv("TORCH_HOME", places["TORCH_HOME"])
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


class Disk:
    """The state of the disk after a power cut: synced content, under names whose folders were synced since.

    `renames` are (from, to, whether all renamed files had been synced before), in order.
    """

    def __init__(self) -> None:
        self.renames: list[tuple[Path, Path, bool]] = []
        self._contents: dict[int, bytes] = {}  # inode -> synced content
        self._names: dict[Path, dict[str, int]] = {}

    def sync(self, path: Path) -> None:
        """Record a call of `os.fsync`."""
        if path.is_dir():
            self._names[path] = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            self._contents[path.stat().st_ino] = path.read_bytes()

    def rename(self, old: Path, new: Path) -> None:
        """Record a rename that is about to happen."""
        files = list(old.iterdir()) if old.is_dir() else [old]
        whole = not old.is_dir() or self._names.get(old, {}).keys() == {path.name for path in files}
        whole = whole and all(self._contents.get(path.stat().st_ino) == path.read_bytes() for path in files)
        self.renames.append((old, new, whole))
        if old in self._names:
            self._names[new] = self._names.pop(old)

    def survives(self, path: Path) -> bytes | None:
        """Return the content of a file after a power cut, None if it would be missing. The name of its folder must be synced."""
        return self._contents.get(self._names.get(path.parent, {}).get(path.name, -1))

    def has(self, folder: Path) -> bool:
        """Return whether a folder would exist after a power cut."""
        return self._names.get(folder.parent, {}).get(folder.name) == folder.stat().st_ino


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Record all syncs and renames of this process."""
    found, fsync, rename, replace = Disk(), os.fsync, os.rename, os.replace

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        found.sync(Path(f"/proc/self/fd/{descriptor}").readlink())

    def renamed(old: Path, new: Path) -> None:
        found.rename(Path(old), Path(new))
        rename(old, new)

    def replaced(old: Path, new: Path) -> None:
        found.rename(Path(old), Path(new))
        replace(old, new)

    for name, function in {"fsync": synced, "rename": renamed, "replace": replaced}.items():
        monkeypatch.setattr(os, name, function)
    return found


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Set the process's umask for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Compute with one thread, so that results are equal to the last bit, if torch is loaded, which not all tests need."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _one_measured_call() -> None:
    """Measure a model's speed in one call instead of many, if that module is loaded: every new store measures again."""
    if (speed := sys.modules.get("segsweep.training.speed")) is not None:
        speed.MEASURED_SECONDS, speed.ROUNDS = 0.0, 1


def write_folder(folder: Path, count: int, seed: int, shape: str) -> Path:
    """Write a dataset of bright figures on dark ground in the layout of `folder:PATH`."""
    rng = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("background\nfigure\n")
    for number in range(count):
        mask = Image.new("L", (32, 32))
        left, top, size = (int(value) for value in (*rng.integers(2, 14, 2), rng.integers(9, 17)))
        draw = ImageDraw.Draw(mask)
        (draw.ellipse if shape == "ellipse" else draw.rectangle)((left, top, left + size, top + size), fill=1)
        inside = np.asarray(mask)[..., None]
        image = rng.integers(0, 110, (32, 32, 3)) + inside * rng.integers(60, 146, (1, 1, 3))
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{number:03d}.png")
        mask.save(folder / "masks" / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Build a folder once for all processes of a test run: the first one builds it, the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def build(name: str, fill: Callable[[Path], object]) -> Path:
        folder, complete = root / name, root / f"{name}.complete"
        with FileLock(root / f"{name}.lock"):
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                complete.touch()
        return folder

    return build


@pytest.fixture(scope="session")
def ellipses(once: Once) -> Path:
    """A target: forty images with one ellipse each."""
    return once("data-ellipses", lambda folder: write_folder(folder / "ellipses", 40, 1, "ellipse")) / "ellipses"


@pytest.fixture(scope="session")
def boxes(once: Once) -> Path:
    """A source: forty images with one box each."""
    return once("data-boxes", lambda folder: write_folder(folder / "boxes", 40, 2, "box")) / "boxes"


@pytest.fixture(scope="session")
def tiny_study(ellipses: Path, boxes: Path) -> Study:
    """Four cells, two tuning trials and two seeds each: 16 trials and one stage, some seconds on one core."""
    return Study(
        name="tiny",
        target=Target(f"folder:{ellipses}"),
        compare={"source": ["random", f"supervised:folder:{boxes}"], "freeze": ["none", "encoder"]},
        tune={"learning_rate": LogUniform(1e-4, 1e-2)},
        fixed={"architecture": "unet4", "image_px": 32, "epochs": 2, "batch_size": 8},
        trials_per_cell=2,
        seeds=2,
    )


@pytest.fixture(scope="session")
def run_once(once: Once) -> Callable[[str, Study], Path]:
    """Run a study once for all processes of a test run, inline and with one thread, in `runs` and `store` of a named folder."""
    import segsweep

    def run(name: str, study: Study) -> Path:
        return once(name, lambda folder: segsweep.run(study, out=folder / "runs", runner="inline", device="cpu", threads=1))

    return run


@pytest.fixture(scope="session")
def finished(run_once: Callable[[str, Study], Path], tiny_study: Study) -> Path:
    """The folder in which the tiny study was run once: `runs/tiny` and `store`. Read only; see `copy_of_finished`."""
    return run_once("finished", tiny_study)


@pytest.fixture(scope="session")
def searched(run_once: Callable[[str, Study], Path], tiny_study: Study) -> Path:
    """The folder in which the tiny study was run once as a search of eight trials: `runs/tiny` and `store`. Read only."""
    return run_once("searched", replace(tiny_study, search=Search(trials=8, confirm=2)))


@pytest.fixture
def copy_of_finished(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished study's folder, which a test may change."""
    from study_copy import copy_of_study

    return copy_of_study(finished, tmp_path / "copy")


@pytest.fixture(scope="session")
def forks() -> "Iterator[Forks]":
    """Starts study scripts as processes that need no seconds for imports."""
    from forked_commands import forks

    with forks() as found:
        yield found


@pytest.fixture
def wandb_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[WandbServer]":
    """A W&B server for one test on loopback; the real client uses no other. See `tests/wandb_server`."""
    from wandb_server import isolated_server

    with isolated_server(tmp_path / "wandb", monkeypatch) as server:
        yield server
