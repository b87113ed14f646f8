"""Test beds of real clusters: several machines on one computer, and the services on them. See README.md in this folder."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from machines import MINUTES, Machines, machines_up, require
from small_study import make_study, undisturbed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and extend their time limit, because the machines share few cores."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(10 * MINUTES))


@pytest.fixture(scope="module")
def machine_names() -> Sequence[str]:
    """Names of the machines of a module's tests; a module that needs others overrides this fixture."""
    return ("n1", "n2", "n3")


@pytest.fixture(scope="module")
def machines(machine_names: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Machines with their own addresses, processes and private folders, on which nothing runs yet."""
    require("ip", "unshare", "nsenter")
    with machines_up(machine_names, tmp_path_factory.mktemp("machines")) as up:
        yield up


@pytest.fixture(scope="session")
def expected(ellipses: Path, boxes: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The measures of the small study in one process, without Ray, machines or disturbances."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return undisturbed(make_study(folder / "study", ellipses, boxes), folder)
