"""One real Ray cluster for all tests of a session."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import ray
from forked_commands import Forks, forks

import segsweep

sys.path.insert(0, str(Path(__file__).parent))

from study_scripts import SCRIPT, Script, measured

CPUS = 4  # logical cores: for two drivers with two workers each


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a cluster with a dashboard, which Ray Train needs for its cleanup."""
    before = os.environ.pop("RAY_ADDRESS", None)
    context = ray.init(address="local", num_cpus=CPUS, include_dashboard=True, log_to_driver=False, object_store_memory=2**28)
    yield context.address_info["gcs_address"]
    ray.shutdown()
    if before is not None:
        os.environ["RAY_ADDRESS"] = before


@pytest.fixture(scope="session", name="forks")
def _forks() -> Iterator[Forks]:
    """Starts drivers as processes that need no seconds for imports."""
    with forks("segsweep.sweep.ray_runner.runner") as found:
        yield found


@pytest.fixture(scope="session")
def make_script(cluster: str, forks: Forks, ellipses: Path, boxes: Path) -> Callable[..., Script]:
    """Write a study script into a folder."""

    def make(folder: Path, name: str = "tiny") -> Script:
        path = folder / f"{name}.py"
        path.write_text(SCRIPT.format(name=name, target=ellipses, source=boxes))
        return Script(path, cluster, name, forks)

    return make


@pytest.fixture
def script(make_script: Callable[..., Script], tmp_path: Path) -> Callable[..., Script]:
    """Write a study script into the test's folder."""
    return partial(make_script, tmp_path)


@pytest.fixture(scope="session")
def undisturbed(make_script: Callable[..., Script], tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The measures of the scripted study's trials in one process, without disturbances."""
    space: dict[str, object] = {"__name__": "study"}
    folder = tmp_path_factory.mktemp("undisturbed")
    exec(make_script(folder).path.read_text(), space)
    return measured(segsweep.run(space["study"], out=folder / "runs", runner="inline", threads=1))  # type: ignore[arg-type]
