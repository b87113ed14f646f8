"""The rooms of the house: imports go downward only."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "segsweep"
FLOORS = {
    "console": 0,
    "errors": 0,
    "files": 0,
    "version": 0,
    "config": 1,
    "store": 2,
    "tasks": 3,
    "records": 4,
    "data": 4,
    "models": 4,
    "training": 5,
    "context": 6,
    "stage": 7,
    "domain_shift": 8,
    "trial": 9,
    "sweep": 10,
    "report": 10,
    "inference": 11,
    "cli": 12,
    "__init__": 13,
}
HEAVY = {
    "torch": {"models", "training", "stage", "domain_shift", "trial", "inference", "sweep"},
    "ray": {"sweep"},
    "wandb": {"records"},
}
LEARNING = ("torch", "torch._dynamo", "torchvision", "timm", "segmentation_models_pytorch", "kornia", "scipy.stats")
OUTSIDE = ("ray", "wandb", "matplotlib")
TABLES = ("pandas", "pyarrow", "duckdb", "numpy", "PIL")
LIGHT = {  # modules, and libraries that importing one must not load
    "segsweep": (*LEARNING, *OUTSIDE, *TABLES, "rich"),
    "segsweep.config": (*LEARNING, *OUTSIDE, *TABLES, "rich"),
    "segsweep.cli.commands": (*LEARNING, *OUTSIDE, *TABLES),
    "segsweep.cli.study_script": (*LEARNING, *OUTSIDE, *TABLES),
    "segsweep.records": (*LEARNING, *OUTSIDE, "PIL", "duckdb"),
    "segsweep.records.query": (*LEARNING, *OUTSIDE, "PIL", "duckdb"),
    "segsweep.records.wandb.launch": (*LEARNING, *OUTSIDE, *TABLES),
    "segsweep.records.wandb.process": (*LEARNING, *OUTSIDE, *TABLES),
    "segsweep.records.wandb.send": (*LEARNING, "ray", "matplotlib"),
    "segsweep.report.write": (*LEARNING, *OUTSIDE, "duckdb"),
    "segsweep.report.figures": (*LEARNING, *OUTSIDE),
    "segsweep.sweep.plan": (*LEARNING, *OUTSIDE, "pandas", "PIL"),
    "segsweep.sweep.planner": (*LEARNING, *OUTSIDE, "pandas", "PIL"),
    "segsweep.sweep.simulated": (*LEARNING, *OUTSIDE, "pandas", "PIL"),
}


@cache
def modules() -> list[tuple[str, str, set[str]]]:
    """Return (room, file, imported names) of every module."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.level == 0, f"{path}: relative import"
                names.add(node.module)
        found.append((path.relative_to(PACKAGE).parts[0].removesuffix(".py"), str(path), names))
    return found


def test_imports_go_downward_only() -> None:
    """No module imports from a room above its own, nor from another room on its floor."""
    for room, path, names in modules():
        for name in names:
            assert name != "segsweep", f"{path} imports the whole package"
            if name.startswith("segsweep."):
                other = name.split(".")[1]
                below = FLOORS[other] < FLOORS[room] or other == room
                assert below, f"{path} ({room}) imports {name}"


@pytest.mark.parametrize("library", HEAVY)
def test_heavy_libraries_stay_in_their_rooms(library: str) -> None:
    """torch, ray and wandb are imported in the rooms that may and nowhere else."""
    for room, path, names in modules():
        if any(name == library or name.startswith(f"{library}.") for name in names):
            assert room in HEAVY[library], f"{path} imports {library}"


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_no_library_that_they_do_not_use(module: str) -> None:
    """Command lines load no library that takes long, reading records and reporting no torch, planning no torch and no Ray."""
    code = f"import {module}, sys; print([name for name in {LIGHT[module]} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout == "[]\n"


def test_tests_of_the_planner_load_no_torch() -> None:
    """They and what pytest loads for them need neither torch nor scipy, so that they start at once."""
    planner = str(Path(__file__).parent / "sweep" / "test_planner.py")
    collect = f"pytest.main(['-q', '--collect-only', {planner!r}])"
    code = f"import pytest, sys; {collect}; print([name for name in {LEARNING} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "test_planner.py" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "[]"


def test_the_library_never_imports_a_study() -> None:
    """Nothing in the package knows the study scripts."""
    for _, path, names in modules():
        assert not any(name == "sweeps" or name.startswith("sweeps.") for name in names), path
