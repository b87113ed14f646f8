"""The notebooks run on a full study, on one that lacks much, and on one that has just begun."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from IPython.display import Image
from matplotlib.figure import Figure
from run_notebook import code_of, described, figures, legend, notebook_names, rows, run_notebook, sentences, titles

CITY, SIMCLR = "supervised:generated_city", "simclr:generated_city"  # labels of the sources
FIGURES = {  # number of figures from the full study
    "architectures": 5,
    "domain_shift": 5,
    "encoders": 5,
    "self_supervised": 6,
    "source_domains": 5,
    "transfer_grid": 6,
    "querying_wandb": 2,
}
ASKS_WANDB = "querying_wandb"  # reads W&B as well as records
OF_RECORDS = [name for name in FIGURES if name != ASKS_WANDB]
BOTH_HOMES = ("domain_shift", "transfer_grid")  # together they read every table
OF_BARE = ("self_supervised", "source_domains", "transfer_grid")
WHILE_BEGUN = {"architectures": 1, "encoders": 1, "self_supervised": 2, "source_domains": 1}  # published numbers, and SimCLR
MODELS = [
    "random weights",
    *(f"{SIMCLR}, ssl temperature {value}" for value in (0.1, 0.5)),
    *(f"{CITY}, transfer {value}" for value in ("encoder", "all")),
]
EMA = ["ema none", "ema 0.9"]
OF_FULL = {  # source, freeze policy and fraction: combinations that must not share a curve
    *(f"{CITY}\n{policy} frozen\nfraction 0.5" for policy in ("nothing", "encoder")),
    *(f"random weights\nnothing frozen\nfraction {fraction}" for fraction in (0.25, 0.5)),
    f"{SIMCLR}\nnothing frozen\nfraction 0.5",
}
DIFFERENCES = {  # reference levels and rows of the bare study's differences
    "Against random weights": [SIMCLR, CITY],
    "Against ema none": ["ema 0.9"],
    "Against ssl temperature 0.1": ["ssl temperature 0.5"],
    "Against transfer encoder": ["transfer all"],
}
pytestmark = pytest.mark.timeout(240)  # the first test runs the study
shown_by = cache(run_notebook)


def labelled(shown: list[object], label: str) -> Figure:
    """Return the figure with this label at one of its axes."""
    return next(each for each in figures(shown) for ax in each.axes if label in (ax.get_xlabel(), ax.get_ylabel()))


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_notebook_shows_the_same_from_folder_and_wandb(name: str, homes: Mapping[str, str]) -> None:
    """The full study has every figure, and from W&B the same tables, sentences and figures as from its folder."""
    shown = shown_by(name, homes["local"])
    assert len(figures(shown)) == FIGURES[name]
    answer, *instead = sentences(shown)
    assert answer.count("\n\n") == 2
    assert all("predictions.png" in text for text in instead)
    assert any(isinstance(each, Image) for each in shown) == (name == "transfer_grid" and not instead)
    if name in BOTH_HOMES:
        assert described(run_notebook(name, homes["wandb"])) == described(shown)


def test_curves_of_different_cells_have_their_own_panel(homes: Mapping[str, str]) -> None:
    """The curves per architecture have a panel for each combination of the other axes that has runs."""
    losses = labelled(shown_by("architectures", homes["local"]), "loss")
    metrics = labelled(shown_by("encoders", homes["local"]), "epoch")
    assert set(titles(losses)) == {ax.get_ylabel() for ax in metrics.axes if ax.get_ylabel()} == OF_FULL


def test_the_notebook_on_wandb_finds_what_was_sent(homes: Mapping[str, str]) -> None:  # noqa: ARG001  # names the project
    """Its queries find runs, history, lineage and scores per image, and both kinds of query return the same."""
    shown = run_notebook(ASKS_WANDB)
    assert len(figures(shown)) == FIGURES[ASKS_WANDB]
    assert sentences(shown) == [
        "From here on: the study `street`.",
        "12 runs found both ways; the largest difference in test IoU is 0.",
    ]


def test_a_notebook_separates_cells_that_differ(bare: Path) -> None:
    """No line or panel joins cells that differ in any axis, and a difference names the levels that its pairs of cells share."""
    shown = {name: shown_by(name, str(bare)) for name in OF_BARE}
    losses = labelled(shown["source_domains"], "loss")
    assert (titles(losses), legend(losses)) == (EMA, [*MODELS, "training", "validation"])
    assert legend(labelled(shown["transfer_grid"], "training time of the cell, seconds")) == MODELS
    differences = labelled(shown["transfer_grid"], "difference in test IoU, points")
    references = [title.partition(" with ")[0] for title in titles(differences)]
    assert dict(zip(references, map(rows, differences.axes), strict=True)) == DIFFERENCES
    assert titles(differences)[1] == "Against ema none with random weights, ssl temperature 0.1, transfer none"
    simclr = labelled(shown["self_supervised"], "held-out views matched (dashed: chance)")
    assert legend(simclr) == ["simclr:generated_city@48, temperature 0.5"]  # the other stage was in the store


def test_a_sentence_replaces_each_figure_that_cannot_be_shown(bare: Path) -> None:
    """A study of one seed and one fraction, without tuning, published numbers and shift, has no empty figure."""
    for name, lacking in (("transfer_grid", 2), ("domain_shift", 5)):
        shown = shown_by(name, str(bare))
        instead = [text for text in sentences(shown)[1:] if text.startswith(("This study", "Nothing was", "No run"))]
        assert len(instead) == lacking + any("predictions.png" in text for text in instead)
        assert all(each.axes for each in figures(shown))


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_notebook_runs_on_a_study_that_has_just_begun(name: str, begun: Path) -> None:
    """A sentence replaces each figure, except those of published numbers and of the source in training."""
    shown = run_notebook(name, str(begun))
    assert len(figures(shown)) == WHILE_BEGUN.get(name, 0)
    assert "nothing can be said" in sentences(shown)[0]
    assert len(sentences(shown)) >= 3


def test_every_notebook_is_run_by_this_test() -> None:
    """The list of notebooks in this file is complete."""
    assert notebook_names() == set(FIGURES)


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_notebook_reads_through_records_load_alone(name: str) -> None:
    """It reads no tables and no W&B by itself, so it runs wherever the records are, and it draws with functions of report/."""
    code = "\n".join(code_of(name))
    assert "load(STUDY, study=STUDY_NAME)" in code
    assert not any(word in code for word in ("read_parquet", "read_csv", "open(", "Path(", "import wandb", "matplotlib", "plt."))
