"""The notebooks are committed clean, and answer from studies that have all, that lack much, and that have just begun."""

import json
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
ASKS_WANDB = "querying_wandb"  # besides records; needs a home there
OF_RECORDS = [name for name in FIGURES if name != ASKS_WANDB]
CASES = [
    *(("local", name, FIGURES[name]) for name in OF_RECORDS),
    *((home, name, None) for home in ("plain", "begun") for name in OF_RECORDS),
]
pytestmark = pytest.mark.timeout(240)  # the first of a home runs the study


def notebook(name: str) -> dict[str, Any]:
    return dict(json.loads((ANALYSIS / f"{name}.ipynb").read_text(encoding="utf-8")))


def run_code(kernel: BlockingKernelClient, code: str) -> list[dict[str, Any]]:
    """Run code in the kernel and return what it put out."""
    outputs: list[dict[str, Any]] = []

    def keep(message: dict[str, Any]) -> None:
        if message["header"]["msg_type"] in ("stream", "display_data", "execute_result", "error"):
            outputs.append(message["content"])

    kernel.execute_interactive(code, output_hook=keep, allow_stdin=False, timeout=60)
    return outputs


@pytest.mark.parametrize(("homes", "name", "figures"), CASES, indirect=["homes"])
def test_a_notebook_answers_from_a_study(homes: str, name: str, figures: int | None, kernel: BlockingKernelClient) -> None:
    """No cell fails or warns, whatever the study lacks; one that has all gives every figure."""
    code = ["".join(cell["source"]) for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]
    run_code(kernel, "%reset -f")
    drawn = 0
    for cell in code:
        outputs = run_code(kernel, f"STUDY = {homes!r}\nSTUDY_NAME = None" if cell.startswith("STUDY = ") else cell)
        wrong = [output for output in outputs if "data" not in output]  # an error, or text of a warning
        assert not wrong, f"{cell}\n{wrong[0].get('text') or chr(10).join(wrong[0]['traceback'])}"
        drawn += sum("image/png" in output["data"] for output in outputs)
    assert figures in (None, drawn)


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
