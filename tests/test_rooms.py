"""The rooms of the package: imports go downward only."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from segsweep.store import contents
from segsweep.store.folder import DAMAGED, LOCKS, TEMPORARY, UNFINISHED

PACKAGE = Path(__file__).parents[1] / "segsweep"
FLOORS = {
    "console": 0,
    "durations": 0,
    "errors": 0,
    "fetching": 0,
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
    "continued": 7,
    "stage": 7,
    "domain_shift": 8,
    "source_score": 8,
    "trial": 9,
    "sweep": 10,
    "report": 10,
    "inference": 11,
    "cli": 12,
    "__init__": 13,
}
HEAVY = {  # libraries that import slowly -> rooms and files that may import them
    "torch": (
        *("models/", "training/", "stage.py", "domain_shift.py", "source_score.py", "trial.py", "inference/"),
        *("sweep/worker_pool.py", "sweep/ray_runner/"),
    ),
    "ray": ("sweep/ray_runner/",),
    "wandb": tuple(f"records/wandb/{name}.py" for name in ("client", "mirror", "models", "reader", "server", "study_run")),
    "matplotlib": ("report/figures/",),
    "optuna": ("report/optuna_study.py", "sweep/search_sampler.py"),
    "scipy": ("report/answer/",),
}
LEARNING = ("torch", "torch._dynamo", "torchvision", "timm", "segmentation_models_pytorch", "kornia", "scipy.stats")
OUTSIDE = ("ray", "wandb", "matplotlib")
TABLES = ("pandas", "pyarrow", "duckdb", "numpy", "PIL")
LIGHT = {  # modules -> libraries that their import must not load
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
    "segsweep.report.status_text": (*LEARNING, *OUTSIDE, "duckdb", "PIL"),
    "segsweep.cli.status": (*LEARNING, *OUTSIDE, "duckdb", "PIL"),
    "segsweep.cli.studies": (*LEARNING, *OUTSIDE, "duckdb", "PIL"),
    "segsweep.report.figures": (*LEARNING, *OUTSIDE),
    "segsweep.sweep.plan": (*LEARNING, *OUTSIDE, "pandas", "PIL"),
    "segsweep.sweep.planner": (*LEARNING, *OUTSIDE, "pandas", "PIL"),
    "segsweep.sweep.simulated": (*LEARNING, *OUTSIDE, "pandas", "PIL"),
}


PRIVATE = ("folder", "artifact_folder", "index", "checkpoints", "text_file")  # private modules of store/
BELOW_THE_ROOT = (DAMAGED, LOCKS, TEMPORARY, UNFINISHED, contents.MANIFESTS)
FILES = [name for name in vars(contents).values() if isinstance(name, str) and "." in name and name != contents.__doc__]
TAKES_A_KIND = ("find", "inspect", "open", "building", "is_being_built", "remove", "keys", "size")  # methods of a store


@cache
def modules() -> list[tuple[str, str, set[str]]]:
    """Return (room, file, imported names) for every module."""
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


def test_the_page_on_the_package_names_every_room() -> None:
    """The section Architecture of `segsweep/README.md` names every room of `FLOORS`."""
    section = (PACKAGE / "README.md").read_text(encoding="utf-8").split("\n## Architecture\n")[1].split("\n## ")[0]
    assert [name for name in FLOORS if name != "__init__" and not re.search(rf"`{name}/?`", section)] == []


@pytest.mark.parametrize("library", HEAVY)
def test_heavy_libraries_stay_in_their_rooms(library: str) -> None:
    """A library that imports slowly is imported only in the rooms and files that use it."""
    users = [path for _, path, names in modules() if any(name.split(".")[0] == library for name in names)]
    outside = [path for path in users if not path.removeprefix(f"{PACKAGE}/").startswith(HEAVY[library])]
    assert not outside, f"{library} is imported by {outside}"


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_no_library_that_they_do_not_use(module: str) -> None:
    """Command lines load no slow library, reading records and reporting no torch, planning no torch and no Ray."""
    code = f"import {module}, sys; print([name for name in {LIGHT[module]} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout == "[]\n"


def test_tests_of_the_planner_load_no_torch() -> None:
    """These tests, and the plugins that pytest loads for them, import neither torch nor scipy, so they start at once."""
    planner = str(Path(__file__).parent / "sweep" / "test_planner.py")
    collect = f"pytest.main(['-q', '--collect-only', {planner!r}])"
    code = f"import pytest, sys; {collect}; print([name for name in {LEARNING} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "test_planner.py" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "[]"


def layout_known_by(tree: ast.AST) -> Iterator[str]:
    """Yield the uses of a store's layout in a module outside store/."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module.removeprefix("segsweep.store.") in PRIVATE:
                yield f"imports {module}"
            case ast.ImportFrom(module="segsweep.store", names=names) if {each.name for each in names} & set(PRIVATE):
                yield "imports a private module of store/"
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr="root") if owner.endswith("store"):
                yield f"{owner}.root"
            case ast.BinOp(op=ast.Div(), right=ast.Constant(value=str(name))) if name.split("/")[0] in BELOW_THE_ROOT:
                yield f"/ {name!r}"
            case ast.Constant(value=str(name)) if name in FILES or name.startswith("example-"):
                yield repr(name)
            case ast.Call(func=ast.Attribute(attr=method), args=[ast.Constant(value=kind), *_]) if (
                method in TAKES_A_KIND and kind in contents.KINDS
            ):
                yield f"{method}({kind!r})"


ALLOWED = {("records/wandb/models.py", "'example-'")}  # the caption that W&B shows


def test_only_the_store_knows_where_it_keeps_what() -> None:
    """Outside store/ no module imports its implementation, joins paths in it, or spells a kind or file of artifacts."""
    paths = [path for path in PACKAGE.rglob("*.py") if PACKAGE / "store" not in path.parents]
    found = {
        (str(path.relative_to(PACKAGE)), known)
        for path in paths
        for known in layout_known_by(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        "from segsweep.store.folder import FolderStore",
        "from segsweep.store import folder",
        "self._store.root / 'x'",
        "catalog.store.root",
        "place / 'temporary'",
        "place / 'manifests/a.json'",
        "artifact.folder / 'weights.safetensors'",
        "model / f'example-{number}-truth.png'",
        "store.find('weights', key)",
    ],
)
def test_knowledge_of_the_layout_is_noticed(line: str) -> None:
    """Each way to use a store's layout is found; uses of its protocol are not."""
    assert list(layout_known_by(ast.parse(line)))
    assert not list(layout_known_by(ast.parse("store.find(WEIGHTS, key); artifact.folder / WEIGHTS_FILE; roots.root / 'images'")))


def test_the_library_never_imports_a_study() -> None:
    """No module of the package imports a study script."""
    for _, path, names in modules():
        assert not any(name == "sweeps" or name.startswith("sweeps.") for name in names), path
