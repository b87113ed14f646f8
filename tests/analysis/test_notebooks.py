"""The notebooks are committed clean, and run on a full study, on one that lacks much, and on one that has just begun."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

CITY, SIMCLR = "supervised:generated_city@48", "simclr:generated_city@48"  # as in the studies
ANALYSIS = Path(__file__).parents[2] / "analysis"
FIGURES = {  # number of figures from the full study
    "architectures": 4,
    "domain_shift": 4,
    "encoders": 3,
    "self_supervised": 3,
    "source_domains": 3,
    "transfer_grid": 5,
    "querying_wandb": 2,
}
ASKS_WANDB = "querying_wandb"  # reads W&B as well as records
OF_RECORDS = [name for name in FIGURES if name != ASKS_WANDB]
BOTH_HOMES = ("domain_shift", "transfer_grid")  # together they read every table
MODELS = [
    "random",
    *(f"{SIMCLR}, ssl temperature {value}" for value in (0.1, 0.5)),
    *(f"{CITY}, transfer {value}" for value in ("encoder", "all")),
]
GAINS = [
    *(f"{SIMCLR}, ema none, ssl temperature {value}, transfer encoder" for value in (0.1, 0.5)),
    *(f"{CITY}, ema none, ssl temperature 0.1, transfer {value}" for value in ("encoder", "all")),
]
EMA = ["ema none", "ema 0.9"]
SHOWN_OF_BARE: dict[str, list[tuple[str, str, list[Any]]]] = {
    "domain_shift": [
        ("Training and validation loss while fine-tuning on the target", "lines", [2 * 6]),
        ("Gain over random weights", "rows", GAINS),
    ],
    "self_supervised": [
        ("Test IoU per source as the labelled share shrinks", "panels", EMA),
        ("Gain of SimCLR over the weights that it started from", "rows", GAINS[:2]),
        (
            "SimCLR on each source",
            "legend",
            [f"{SIMCLR}, temperature 0.5"],
        ),  # the stage of the other temperature was in the store
    ],
    "source_domains": [
        ("Training and validation loss as each source is fine-tuned", "panels", EMA),
        ("Training and validation loss as each source is fine-tuned", "legend", [*MODELS, "training", "validation"]),
        ("gain over random weights, trained as a whole", "rows", GAINS),
    ],
    "transfer_grid": [
        ("Test IoU per source", "panels", EMA),
        ("Test IoU per source", "legend", MODELS),
        ("Gain over random weights, all else alike", "rows", GAINS),
        ("Test IoU against the cost of a cell (hollow: something frozen)", "legend", MODELS),
    ],
}
CURVES = {  # curves of the full study by architecture: the figure, the part that labels its panels, and the labels' beginning
    "architectures": ("Loss per epoch of each architecture", "panels", "training\n"),
    "encoders": ("Each metric per epoch and architecture", "heights", ""),
}
OF_FULL = {  # source, freeze policy and fraction: combinations that must not share a curve
    *(f"{CITY}\nfreeze {policy}\nfraction 0.5" for policy in ("none", "encoder")),
    *(f"random\nfreeze none\nfraction {fraction}" for fraction in (0.25, 0.5)),
    f"{SIMCLR}\nfreeze none\nfraction 0.5",
}
Outputs = list[dict[str, Any]]
pytestmark = pytest.mark.timeout(240)  # the first test runs the study


def notebook(name: str) -> dict[str, Any]:
    return dict(json.loads((ANALYSIS / f"{name}.ipynb").read_text(encoding="utf-8")))


def run_code(kernel: BlockingKernelClient, code: str) -> Outputs:
    """Run code in the kernel and return its outputs."""
    outputs: Outputs = []

    def keep(message: dict[str, Any]) -> None:
        if message["header"]["msg_type"] in ("stream", "display_data", "execute_result", "error"):
            outputs.append(message["content"])

    kernel.execute_interactive(code, output_hook=keep, allow_stdin=False, timeout=60)
    return outputs


RECORD = """
%config InlineBackend.print_figure_kwargs = {"bbox_inches": None, "dpi": 40}
import matplotlib.pyplot as plt

DRAWN = []


def keep_drawn():
    for figure in map(plt.figure, plt.get_fignums()):
        panels = [ax for ax in figure.axes if ax.axison]
        legends = [*figure.legends, *(ax.get_legend() for ax in panels if ax.get_legend())]
        DRAWN.append(
            {
                "title": figure.get_suptitle() or panels[0].get_title(),
                "panels": [ax.get_title() for ax in panels],
                "legend": [text.get_text() for legend in legends for text in legend.get_texts()],
                "heights": [ax.get_ylabel() for ax in panels],
                "rows": [text.get_text() for text in panels[0].get_yticklabels()],
                "lines": [len(ax.get_lines()) for ax in panels],
            }
        )
"""


def run_notebook(name: str, study: str, kernel: BlockingKernelClient) -> list[dict[str, str]]:
    """Run a notebook on a study and return its displayed data, by format. No cell may fail, print or warn."""
    run_code(kernel, f"%reset -f\n{RECORD}")
    shown = []
    for cell in (cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"):
        code = "".join(cell["source"]) + ("\nkeep_drawn()" if any("figure, " in line for line in cell["source"]) else "")
        for output in run_code(kernel, f"STUDY = {study!r}\nSTUDY_NAME = None" if code.startswith("STUDY = ") else code):
            assert "data" in output, f"{code}\n{output.get('text') or chr(10).join(output['traceback'])}"
            shown.append(output["data"])
    return shown


def figures(shown: list[dict[str, str]]) -> int:
    return sum("image/png" in data for data in shown)


def sentences(shown: list[dict[str, str]]) -> list[str]:
    return [data["text/markdown"] for data in shown if data.get("text/markdown")]


def value(kernel: BlockingKernelClient, expression: str) -> Any:
    """Return the value of an expression in the kernel, after a notebook has run there."""
    (output,) = run_code(kernel, f"import json; print(json.dumps({expression}))")
    return json.loads(output["text"])


def drawn(kernel: BlockingKernelClient) -> dict[str, Any]:
    """Return the texts of the figures that a notebook drew, by their titles; see `RECORD`."""
    return {figure["title"]: figure for figure in value(kernel, "DRAWN")}


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_notebook_shows_the_same_from_folder_and_wandb(
    name: str, homes: Mapping[str, str], kernel: BlockingKernelClient
) -> None:
    """The full study has every figure, and from W&B the same tables, sentences and figures as from its folder."""
    shown = run_notebook(name, homes["local"], kernel)
    assert figures(shown) == FIGURES[name]
    assert not any(text.startswith(("No ", "Nothing", "This study")) for text in sentences(shown))
    if name in CURVES:
        title, part, lead = CURVES[name]
        shown_here = drawn(kernel)[title][part]
        assert {text.removeprefix(lead) for text in shown_here if text and text.startswith(lead)} == OF_FULL
    if name in BOTH_HOMES:
        assert run_notebook(name, homes["wandb"], kernel) == shown


def test_the_notebook_on_wandb_finds_what_was_sent(homes: Mapping[str, str], kernel: BlockingKernelClient) -> None:
    """Its queries find runs, history, lineage and scores per image, and both kinds of query return the same."""
    shown = run_notebook(ASKS_WANDB, homes["wandb"], kernel)
    shown_here = sentences(shown)
    assert figures(shown) == FIGURES[ASKS_WANDB]
    assert shown_here == [
        "From here on: the study `street`.",
        "12 runs found both ways; the largest difference in test IoU is 0.",
    ]


@pytest.mark.parametrize("name", SHOWN_OF_BARE)
def test_a_notebook_separates_cells_that_differ(name: str, bare: Path, kernel: BlockingKernelClient) -> None:
    """No line, panel or difference joins cells that differ in any axis; a sentence replaces each figure that cannot be shown."""
    shown = run_notebook(name, str(bare), kernel)
    assert any(text.startswith(("This study", "Nothing was measured")) for text in sentences(shown))
    found = drawn(kernel)
    assert len(found) == figures(shown)
    for title, part, expected in SHOWN_OF_BARE[name]:
        assert found[title][part] == expected, (title, part)


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_notebook_runs_on_a_study_that_has_just_begun(name: str, begun: Path, kernel: BlockingKernelClient) -> None:
    """A sentence replaces each figure, except those of published numbers and of the source in training."""
    shown = run_notebook(name, str(begun), kernel)
    assert figures(shown) == (name in ("architectures", "encoders", "self_supervised", "source_domains"))
    assert sum(text.startswith(("No ", "This study tunes")) for text in sentences(shown)) >= 2
    assert not any("is off" in text or text.startswith("Of ") for text in sentences(shown))


def test_every_notebook_is_run_by_this_test() -> None:
    """The list of notebooks in this file is complete."""
    assert {path.stem for path in ANALYSIS.glob("*.ipynb")} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_is_clean(name: str) -> None:
    """It opens with its question, names its study in one cell, and holds no outputs and no metadata of a user."""
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
    """It reads no files and no W&B by itself, so it runs wherever the records are."""
    code = "".join(line for cell in notebook(name)["cells"] if cell["cell_type"] == "code" for line in cell["source"])
    assert "load(STUDY, study=STUDY_NAME)" in code
    assert not any(word in code for word in ("read_parquet", "read_csv", "open(", "Path(", "import wandb"))
