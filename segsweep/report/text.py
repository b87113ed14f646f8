"""The table of a study as text for a terminal."""

import math
import re
from io import StringIO

import pandas as pd
from rich.console import Console
from rich.table import Table

from segsweep.records.reader import Records
from segsweep.report.cells import compared_axes, confirmed_runs, summarise, tuned_axes
from segsweep.report.published import beside_published
from segsweep.report.shift import shift_table

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
}
PROTOCOL = (
    "Protocol: integer counts over the whole split at image_px, ignored pixels left out; accuracy: share of correct pixels;",
    "Dice and boundary_f (within 0.75 % of the diagonal): means over pictures; losses: means over pictures, each by itself.",
)
SHIFT = (
    "Before: its classes mapped by name and class_map, all others taken for background. Source mean IoU: on the source's",
    "validation pictures; after fine-tuning with all that was transferred at its new values, and the source's own rest.",
)
WIDTH = 400  # the table is as wide as its contents; a terminal wraps or scrolls


def table_text(records: Records) -> str:
    """Return the table of a study, one row per cell, with a line for each failure and the protocol of the numbers."""
    summary = summarise(records)
    axes = [axis for axis in compared_axes(records) if summary[axis].nunique() > 1] or compared_axes(records)[:1]
    table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    for axis in axes:
        table.add_column(axis)
    for name in (
        "val_iou",
        "test_iou",
        "spread",
        *list(HEADINGS)[2:6],
        *tuned_axes(records),
        "seeds",
        "stopped",
        "failed",
    ):
        table.add_column(HEADINGS.get(name, name), justify="right")
    for _, row in summary.iterrows():
        numbers = [_number(row[name]) for name in list(HEADINGS)[2:6]]
        tuned = [_value(row[axis]) + ("*" if axis in str(row["at_edge"]).split(",") else "") for axis in tuned_axes(records)]
        spread = "" if math.isnan(row["test_iou_std"]) else f"±{row['test_iou_std']:.3f}"
        seeds = f"{row['seeds']}/{row['seeds_planned']}"
        failures = str(row["failed"] + row["skipped"])
        cells = [_value(row[axis]) for axis in axes]
        table.add_row(
            *cells,
            _number(row["val_iou"]),
            _number(row["test_iou"]),
            spread,
            *numbers,
            *tuned,
            seeds,
            str(row["stopped"]),
            failures,
        )
    notes = [*_notes(summary, records), *PROTOCOL]
    return "\n".join([_title(records, summary), "", *_lines(table), "", *notes, *_shift(records, axes), *_published(records)])


def _lines(table: Table) -> list[str]:
    """Return a table as lines of text."""
    page = Console(file=StringIO(), width=WIDTH, highlight=False, emoji=False, markup=False)
    page.print(table)
    assert isinstance(page.file, StringIO)
    return [line.rstrip() for line in page.file.getvalue().splitlines()]


def _published(records: Records) -> list[str]:
    """Return the results beside the published ones, as lines of text; nothing for a study without such."""
    rows = beside_published(records)
    if rows.empty:
        return []
    published = records.study["published"]
    table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    table.add_column("run")
    measures = [name for name in rows.columns if name.endswith("_published")]
    for name in measures:
        measure = name.removesuffix("_published")
        table.add_column(_heading(measure), justify="right")
        table.add_column("published", justify="right")
    for _, row in rows.iterrows():
        pairs = [(row[name.removesuffix("_published")], row[name]) for name in measures]
        table.add_row(row["run"], *(_number(number) for pair in pairs for number in pair))
    note = [published["note"]] if published["note"] else []
    return ["", f"Beside {published['where']}:", "", *_lines(table), *note]


def _shift(records: Records, axes: list[str]) -> list[str]:
    """Return what was measured before and after fine-tuning, as lines of text; nothing for a study without `domain_shift`."""
    rows = shift_table(records)
    if rows.empty:
        return []
    table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    for axis in axes:
        table.add_column(axis)
    numbers = [name for name in rows.columns if name.startswith(("before_", "test_", "source_mean", "forgetting"))]
    for name in numbers:
        after = name.startswith("test_") or name == "source_mean_iou_after"
        table.add_column("after" if after else _heading(name), justify="right")
    for _, row in rows.iterrows():
        table.add_row(*(_value(row[axis]) for axis in axes), *(_number(row[name]) for name in numbers))
    return [
        "",
        "Before (the source's own model) and after fine-tuning, on the test split; and on the source:",
        "",
        *_lines(table),
        *SHIFT,
    ]


def _heading(measure: str) -> str:
    """Return what a measure is called at the head of a column."""
    name = measure.removeprefix("test_").removeprefix("before_")
    return HEADINGS.get(f"test_{name}", HEADINGS.get(measure, re.sub("^iou_", "IoU ", name)))


def _title(records: Records, summary: pd.DataFrame) -> str:
    """Return the study's name, its target, and all that is the same in every row."""
    study, target = records.study, records.study["target"]
    same = {axis: summary[axis].iloc[0] for axis in compared_axes(records) if summary[axis].nunique() == 1}
    said = ", ".join(f"{name}={value}" for name, value in {**same, **study["fixed"]}.items())
    return f"{study['name']}: target {target['name']}" + (f"; {said}" if said else "")


def _notes(summary: pd.DataFrame, records: Records) -> list[str]:
    classes = "the foreground's with two classes, means over the classes with more"
    notes = [
        f"IoU, F1, precision, recall: {classes}; from the whole split's counts. Means over confirmed runs; ± one standard",
        "deviation of test IoU over them"
        + ("" if records.study["source_seeds"] > 1 else ", all from one source model per source")
        + ". failed counts skipped trials too.",
    ]
    if (summary["at_edge"] != "").any():
        notes.append(
            "* best at the edge of what was tried: widen the range (--set NAME=LOW..HIGH) or try more points (trials_per_cell)"
        )
    absent = confirmed_runs(records)[["absent_classes", "test_images"]].dropna().drop_duplicates()
    notes += [
        f"None of the {count} test pictures shows {names}: its IoU is undefined and left out of means, or 0 where predicted."
        for names, count in absent.itertuples(index=False)
    ]
    notes += [f"{row['cell']}: {row['note']}" for _, row in summary.iterrows() if row["note"]]
    return notes


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3f}"


def _value(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]  # a scalar
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
