"""The notebooks are committed clean, and answer from studies that have all, that lack much, and that have just begun."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

ANALYSIS = Path(__file__).parents[2] / "analysis"
FIGURES = {  # that a study with all that it can have gives
    "architectures": 4,
    "domain_shift": 4,
    "encoders": 3,
    "self_supervised": 3,
    "source_domains": 3,
    "transfer_grid": 5,
    "querying_wandb": 2,
}
ASKS_WANDB = "querying_wandb"  # besides records
OF_RECORDS = [name for name in FIGURES if name != ASKS_WANDB]
Outputs = list[dict[str, Any]]
pytestmark = pytest.mark.timeout(240)  # the first one runs the study


def notebook(name: str) -> dict[str, Any]:
    return dict(json.loads((ANALYSIS / f"{name}.ipynb").read_text(encoding="utf-8")))


def run_code(kernel: BlockingKernelClient, code: str) -> Outputs:
    """Run code in the kernel and return what it put out."""
    outputs: Outputs = []

    def keep(message: dict[str, Any]) -> None:
        if message["header"]["msg_type"] in ("stream", "display_data", "execute_result", "error"):
            outputs.append(message["content"])

    kernel.execute_interactive(code, output_hook=keep, allow_stdin=False, timeout=60)
    return outputs


def run_notebook(name: str, study: str, kernel: BlockingKernelClient) -> list[dict[str, str]]:
    """Run a notebook on a study and return what it shows, by format. No cell may fail, print or warn."""
    run_code(kernel, "%reset -f")
    shown = []
    for cell in (cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"):
        code = "".join(cell["source"])
        for output in run_code(kernel, f"STUDY = {study!r}\nSTUDY_NAME = None" if code.startswith("STUDY = ") else code):
            assert "data" in output, f"{code}\n{output.get('text') or chr(10).join(output['traceback'])}"
            shown.append(output["data"])
    return shown


def figures(shown: list[dict[str, str]]) -> int:
    return sum("image/png" in data for data in shown)


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_notebook_answers_alike_from_both_homes(name: str, homes: Mapping[str, str], kernel: BlockingKernelClient) -> None:
    """A whole study gives every figure, and from W&B the same tables, sentences and pictures as from its folder."""
    local, mirrored = (run_notebook(name, homes[home], kernel) for home in ("local", "wandb"))
    assert figures(local) == FIGURES[name]
    assert local == mirrored


def test_the_notebook_on_wandb_finds_what_was_sent(homes: Mapping[str, str], kernel: BlockingKernelClient) -> None:
    """Its queries find runs, history, lineage and scores per picture, and both ways of asking tell the same."""
    shown = run_notebook(ASKS_WANDB, homes["wandb"], kernel)
    told = [data["text/markdown"] for data in shown if "text/markdown" in data]
    assert figures(shown) == FIGURES[ASKS_WANDB]
    assert told == ["From here on: the study `street`.", "16 runs found both ways; the largest difference in test IoU is 0."]


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_notebook_answers_from_a_study_that_lacks_much(name: str, finished: Path, kernel: BlockingKernelClient) -> None:
    """One fraction, one architecture, nothing published, no shift: what cannot be shown is said in a sentence."""
    shown = run_notebook(name, str(finished / "runs" / "tiny"), kernel)
    assert 0 < figures(shown) <= FIGURES[name]
    assert any("text/markdown" in data for data in shown)


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_notebook_answers_from_a_study_that_has_just_begun(name: str, begun: Path, kernel: BlockingKernelClient) -> None:
    """Where nothing has finished there is nothing of it in a figure, but a sentence."""
    shown = run_notebook(name, str(begun), kernel)
    assert sum("text/markdown" in data for data in shown) >= 3


def test_every_notebook_is_run_by_this_test() -> None:
    """A notebook that is added is added here too."""
    assert {path.stem for path in ANALYSIS.glob("*.ipynb")} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_is_clean(name: str) -> None:
    """It opens with its question, has one cell that says which study, and holds no outputs and nothing of who ran it."""
    whole = notebook(name)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert whole["metadata"] == {"kernelspec": kernel, "language_info": {"name": "python"}}
    first, *rest = whole["cells"]
    assert first["cell_type"] == "markdown"
    assert first["source"][0].startswith("# ")
    assert first["source"][0].strip().endswith("?")
    code = [cell for cell in rest if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert all(cell["metadata"] == {} for cell in whole["cells"])
    assert sum(cell["source"][0].startswith("STUDY = ") for cell in code) == 1


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_notebook_reads_through_records_load_alone(name: str) -> None:
    """No files, no W&B: the same notebook serves every home."""
    code = "".join(line for cell in notebook(name)["cells"] if cell["cell_type"] == "code" for line in cell["source"])
    assert "load(STUDY, study=STUDY_NAME)" in code
    assert not any(word in code for word in ("read_parquet", "read_csv", "open(", "Path(", "import wandb"))
