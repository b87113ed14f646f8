"""Files of `cluster/` for their tests, and the tools that some of these tests need."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
INSTALL = "install the group cluster-tests: uv pip install -e '.[cluster-tests]'"


def files() -> list[Path]:
    """Return every file below `cluster/`, in a fixed order."""
    return sorted(path for path in CLUSTER.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def shown(path: Path) -> str:
    """Return a path as it appears in messages and test names."""
    return str(path.relative_to(ROOT))


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a YAML file."""
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def load(path: Path) -> dict[str, Any]:
    """Return a YAML file's only document."""
    (document,) = documents(path)
    return document


def locked(package: str) -> str:
    """Return the version of a package in `requirements.lock`."""
    found = re.search(rf"^{re.escape(package)}==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"requirements.lock has no {package}"
    return found[1]


def tool(name: str, package: str) -> str:
    """Return the path of a program, preferably the one beside this Python; skip the test if there is none."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"needs {name}, of the package {package}; {INSTALL}")
    return found


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Return (path, value) of every leaf of nested dictionaries and lists."""
    if isinstance(value, dict):
        return [leaf for name, item in value.items() for leaf in leaves(item, (*path, str(name)))]
    if isinstance(value, list):
        return [leaf for number, item in enumerate(value) for leaf in leaves(item, (*path, str(number)))]
    return [(path, value)]
