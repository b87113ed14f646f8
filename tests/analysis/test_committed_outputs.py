"""The committed notebooks have the outputs of their present code, made by `python -m analysis.render`."""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from run_notebook import ANALYSIS, notebook, notebook_names, shows

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
MOST_BYTES = 600_000
FOLDERS = re.compile(r"(?<![\w.])/(?:home|Users|root|tmp|work|mnt|var|opt|usr|dev/shm)/|[A-Z]:\\\\")


def render() -> ModuleType:
    """Return the module that renders notebooks."""
    spec = importlib.util.spec_from_file_location("render", ANALYSIS / "render.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_cells(name: str) -> list[dict[str, Any]]:
    return [cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("name", sorted(notebook_names()))
def test_outputs_are_those_of_the_present_code(name: str) -> None:
    """The digest of the code that was executed is that of the code cells, which ran in order, once each."""
    hint = f"{name}: run python -m analysis.render {name}"
    assert notebook(name)["metadata"]["segsweep"] == {"executed": render().digest(notebook(name))}, hint
    cells = code_cells(name)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), hint


@pytest.mark.parametrize("name", sorted(notebook_names()))
def test_every_cell_that_ends_in_a_value_shows_it(name: str) -> None:
    """Such a cell has an output; there are figures; no output is an error or text on a stream, such as a warning."""
    for cell in code_cells(name):
        code = "".join(line for line in cell["source"] if not line.startswith("%"))
        assert bool(cell["outputs"]) or not shows(code), code
        assert {output["output_type"] for output in cell["outputs"]} <= {"display_data", "execute_result"}, code
    assert sum("image/png" in output["data"] for cell in code_cells(name) for output in cell["outputs"]) >= 2


@pytest.mark.parametrize("name", sorted(notebook_names()))
def test_a_notebook_is_fit_to_commit(name: str) -> None:
    """It opens with its question, names its study in one cell, and is small; it has no metadata or path of a user."""
    whole, path = notebook(name), ANALYSIS / f"{name}.ipynb"
    assert {key: value for key, value in whole["metadata"].items() if key != "segsweep"} == {
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
    }
    first = whole["cells"][0]
    assert first["cell_type"] == "markdown"
    assert re.match(r"# .*\?$", first["source"][0].strip())
    assert all(cell["metadata"] == {} for cell in whole["cells"])
    assert sum(line.startswith("STUDY = ") for cell in code_cells(name) for line in cell["source"]) == 1
    assert path.stat().st_size < MOST_BYTES
    texts = [line for line in path.read_text(encoding="utf-8").splitlines() if '"image/png"' not in line]
    assert [line for line in texts if FOLDERS.search(line)] == []


@pytest.fixture
def rendering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that renders notebooks, for a folder with a study's demo and no notebook."""
    module = render()
    (tmp_path / "runs" / "small_demo").mkdir(parents=True)
    monkeypatch.setattr(module, "ANALYSIS", tmp_path)
    return module


def write(rendering: ModuleType, *cells: str) -> Path:
    """Write a notebook with code cells that have an old output."""
    old = {"cell_type": "code", "metadata": {}, "execution_count": 7, "outputs": [{"output_type": "error"}]}
    whole = {"metadata": {}, "cells": [{**old, "source": [code]} for code in cells]}
    path = Path(rendering.ANALYSIS, "small.ipynb")
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::ResourceWarning")
def test_rendering_replaces_outputs(rendering: ModuleType) -> None:
    """Cells run in one kernel, beside the demo; their values become the outputs, and the digest becomes that of the code."""
    path = write(rendering, "from pathlib import Path", "value = 6", "Path('../runs/small_demo').is_dir(), 7 * value")
    rendering.render("small", path.parent / "runs")
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert [len(cell["outputs"]) for cell in whole["cells"]] == [0, 0, 1]
    assert whole["cells"][2]["outputs"][0]["data"] == {"text/plain": "(True, 42)"}
    assert whole["metadata"]["segsweep"] == {"executed": rendering.digest(whole)}
    whole["cells"][1]["source"] = ["value = 8"]
    assert whole["metadata"]["segsweep"] != {"executed": rendering.digest(whole)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::ResourceWarning")
@pytest.mark.parametrize("code", ["1 / 0", "import warnings; warnings.warn('careful')"])
def test_rendering_stops_at_an_error_or_a_warning(code: str, rendering: ModuleType) -> None:
    """The message names the notebook and the cell; the notebook stays as it was."""
    path = write(rendering, "1", code)
    before = path.read_bytes()
    with pytest.raises(SystemExit, match="small, cell 2"):
        rendering.render("small", path.parent / "runs")
    assert path.read_bytes() == before


def test_a_missing_demo_is_named_with_its_command(rendering: ModuleType) -> None:
    """Rendering without the demo ends before a kernel starts."""
    path = write(rendering, "1")
    shutil.rmtree(path.parent / "runs" / "small_demo")
    with pytest.raises(SystemExit, match=r"holds no small_demo; run python sweeps/small.py --demo first"):
        rendering.render("small", path.parent / "runs")
