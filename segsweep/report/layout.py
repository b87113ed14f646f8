"""Layout of tables as text: headings, numbers and lines."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from textwrap import wrap

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
FIT = 80  # characters of a terminal's line
GAP, INDENT, NOTE_INDENT = "  ", "    ", "  "
UNSCALED = ("seconds", "loss", "bce")  # endings of measures that are no shares
WIDTH = 400  # wide enough for any table; a terminal wraps or scrolls


def new_table() -> Table:
    """Return an empty table without borders."""
    return Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)


def wrapped(lines: Iterable[str]) -> list[str]:
    """Return each line of prose as lines of at most 80 characters; those after its first are indented."""
    return [part for line in lines for part in wrap(line, FIT, subsequent_indent=NOTE_INDENT, break_on_hyphens=False)]


def lines_of(table: Table, width: int = WIDTH) -> list[str]:
    """Return a table as lines of text of at most `width` characters, if its columns can be wrapped that far."""
    page = Console(file=StringIO(), width=width, highlight=False, emoji=False, markup=False)
    page.print(table)
    assert isinstance(page.file, StringIO)
    return [line.rstrip() for line in page.file.getvalue().splitlines()]


@dataclass(frozen=True)
class Column:
    """A column of a table that fits a width.

    Attributes:
        heading: Its name.
        values: One text per row.
        right: Whether values are aligned to the right, as numbers are.
        priority: The columns of the largest number leave a table that is too wide first; those of 0 always stay.
    """

    heading: str
    values: Sequence[str]
    right: bool = True
    priority: int = 0

    @property
    def width(self) -> int:
        """Its width in characters."""
        return max(len(text) for text in (self.heading, *self.values))

    def cell(self, text: str) -> str:
        """Return a text at the column's width."""
        return text.rjust(self.width) if self.right else text.ljust(self.width)


def fitted(columns: Sequence[Column], width: int = FIT) -> tuple[list[str], list[str]]:
    """Return a table as lines of at most `width` characters, and the headings of the columns that it leaves out.

    Columns leave by priority; those whose values are all empty always leave, and are not named. If the columns of priority 0
    alone are too wide, the texts that are aligned left move to lines of their own above each row.
    """
    kept = [column for column in columns if column.priority == 0 or any(column.values)]
    names = [column for column in kept if not column.right]
    if _width([column for column in kept if not column.priority]) <= width:
        kept, dropped = _without_last(kept, width)
        return [_line(kept, None), *(_line(kept, row) for row in range(len(kept[0].values)))], dropped
    kept, dropped = _without_last([column for column in kept if column.right], width - len(INDENT))
    lines = [", ".join(column.heading for column in names), INDENT + _line(kept, None)]
    for row in range(len(names[0].values)):
        lines += wrap(", ".join(column.values[row] for column in names), width)
        lines.append(INDENT + _line(kept, row))
    return lines, dropped


def _without_last(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """Return the columns that fit, and the headings of the others: those of the largest priority number leave first."""
    kept, dropped = list(columns), []
    while _width(kept) > width and any(column.priority for column in kept):
        last = max(kept, key=lambda column: column.priority)
        kept.remove(last)
        dropped.append(last.heading)
    return kept, dropped


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def _line(columns: Sequence[Column], row: int | None) -> str:
    texts = (column.cell(column.heading if row is None else column.values[row]) for column in columns)
    return GAP.join(texts).rstrip()


def heading(measure: str) -> str:
    """Return the column heading of a measure."""
    name = measure.removeprefix("test_").removeprefix("before_")
    return HEADINGS.get(f"test_{name}", HEADINGS.get(measure, re.sub("^iou_", "IoU ", name)))


def number(value: float, measure: str = "") -> str:
    """Return a measure as text: points of 100 with one decimal, seconds and losses with three; empty if it is missing."""
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if measure.endswith(UNSCALED) else f"{100 * value:.1f}"


def text(value: object) -> str:
    """Return the value of an axis as text; empty if it is missing."""
    if pd.isna(value):  # type: ignore[call-overload]  # a scalar
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
