"""Layout of tables as text: headings, numbers and lines."""

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
    "train_images": "images",
    "knn_accuracy": "k-NN",
    "knn_accuracy_start": "k-NN before",
    "knn_chance": "k-NN chance",
}
WIDTH = 400  # wide enough for any table; a terminal wraps or scrolls


def new_table() -> Table:
    """Return an empty table without borders."""
    return Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)


def lines_of(table: Table, width: int = WIDTH) -> list[str]:
    """Return a table as lines of text of at most `width` characters, if its columns can be wrapped that far."""
    page = Console(file=StringIO(), width=width, highlight=False, emoji=False, markup=False)
    page.print(table)
    assert isinstance(page.file, StringIO)
    return [line.rstrip() for line in page.file.getvalue().splitlines()]


def heading(measure: str) -> str:
    """Return the column heading of a measure."""
    name = measure.removeprefix("test_").removeprefix("before_")
    return HEADINGS.get(f"test_{name}", HEADINGS.get(measure, re.sub("^iou_", "IoU ", name)))


def number(value: float) -> str:
    """Return a number as text with three decimals; empty if it is missing."""
    return "" if pd.isna(value) else f"{value:.3f}"


def text(value: object) -> str:
    """Return the value of an axis as text; empty if it is missing."""
    if pd.isna(value):  # type: ignore[call-overload]  # a scalar
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
