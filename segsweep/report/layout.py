"""How tables are laid out as text: headings, numbers, lines."""

import re
from io import StringIO

import pandas as pd
from rich.console import Console
from rich.table import Table

HEADINGS = {
    "val_iou": "val IoU",
    "test_iou": "test IoU",
    "test_f1": "F1",
    "test_accuracy": "accuracy",
    "test_precision": "precision",
    "test_recall": "recall",
    "learning_rate": "lr",
    "test_mean_accuracy": "mean accuracy",
    "test_mean_iou": "mean IoU",
    "test_weighted_iou": "weighted IoU",
    "test_dice": "Dice",
    "predict_seconds": "predict s",
    "source_mean_iou_before": "source mean IoU",
    "val_mean_iou": "val mean IoU",
    "val_dice": "val Dice",
    "val_accuracy": "val accuracy",
    "contrastive_accuracy": "contrastive",
    "contrastive_chance": "chance",
    "source_seed": "seed",
    "train_images": "pictures",
    "knn_accuracy": "k-NN",
    "knn_accuracy_start": "start",
    "knn_chance": "usual",
}
WIDTH = 400  # the table is as wide as its contents; a terminal wraps or scrolls


def new_table() -> Table:
    """Return an empty table without lines around its cells."""
    return Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)


def lines_of(table: Table, width: int = WIDTH) -> list[str]:
    """Return a table as lines of text of at most `width` characters, where its columns can be broken."""
    page = Console(file=StringIO(), width=width, highlight=False, emoji=False, markup=False)
    page.print(table)
    assert isinstance(page.file, StringIO)
    return [line.rstrip() for line in page.file.getvalue().splitlines()]


def heading(measure: str) -> str:
    """Return what a measure is called at the head of a column."""
    name = measure.removeprefix("test_").removeprefix("before_")
    return HEADINGS.get(f"test_{name}", HEADINGS.get(measure, re.sub("^iou_", "IoU ", name)))


def number(value: float) -> str:
    """Return a number as a cell shows it; nothing for one that is missing."""
    return "" if pd.isna(value) else f"{value:.3f}"


def text(value: object) -> str:
    """Return a value of an axis as a cell shows it; nothing for one that is missing."""
    if pd.isna(value):  # type: ignore[call-overload]  # a scalar
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
