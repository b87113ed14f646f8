"""The table of a study as text for a terminal."""

import math

import pandas as pd

from segsweep.config.folds import folds_of
from segsweep.records.study_records import Records
from segsweep.report.cells import compared_axes, confirmed_runs, summarise, tuned_axes
from segsweep.report.comparison import comparison_lines
from segsweep.report.layout import HEADINGS, lines_of, new_table, number, text
from segsweep.report.method import method_lines, protocol_lines
from segsweep.report.sections import published_lines, shift_lines, source_lines


def table_text(records: Records) -> str:
    """Return a study's table with one row per cell, then notes on failures, protocol, sources and published numbers."""
    summary = summarise(records)
    axes = [axis for axis in compared_axes(records) if summary[axis].nunique() > 1] or compared_axes(records)[:1]
    folded = folds_of(records.study["target"]["protocol"]) is not None
    table = new_table()
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
        table.add_column("runs" if name == "seeds" and folded else HEADINGS.get(name, name), justify="right")
    for _, row in summary.iterrows():
        numbers = [number(row[name]) for name in list(HEADINGS)[2:6]]
        tuned = [text(row[axis]) + ("*" if axis in str(row["at_edge"]).split(",") else "") for axis in tuned_axes(records)]
        spread = "" if math.isnan(row["test_iou_std"]) else f"±{row['test_iou_std']:.3f}"
        seeds = f"{row['seeds']}/{row['seeds_planned']}"
        failures = str(row["failed"] + row["skipped"])
        cells = [text(row[axis]) for axis in axes]
        table.add_row(
            *cells,
            number(row["val_iou"]),
            number(row["test_iou"]),
            spread,
            *numbers,
            *tuned,
            seeds,
            str(row["stopped"]),
            failures,
        )
    notes = [*_notes(summary, records), *protocol_lines(records)]
    return "\n".join(
        [
            _title(records, summary),
            "",
            *lines_of(table),
            "",
            *notes,
            *source_lines(records),
            *shift_lines(records, axes),
            *published_lines(records),
        ]
    )


def _title(records: Records, summary: pd.DataFrame) -> str:
    """Return the study's name, its target, and the settings that all rows share."""
    study, target = records.study, records.study["target"]
    same = {axis: summary[axis].iloc[0] for axis in compared_axes(records) if summary[axis].nunique() == 1}
    fixed_text = ", ".join(f"{name}={value}" for name, value in {**same, **study["fixed"]}.items())
    return f"{study['name']}: target {target['name']}" + (f"; {fixed_text}" if fixed_text else "")


def _notes(summary: pd.DataFrame, records: Records) -> list[str]:
    runs = confirmed_runs(records)
    notes = [
        *method_lines(records),
        "Means over confirmed runs; ± one standard deviation of test IoU over them"
        + ("" if records.study["source_seeds"] > 1 else ", all from one source model per source")
        + ". The column failed includes skipped trials.",
        *comparison_lines(records),
    ]
    notes += _edge_notes(summary, records)
    absent = runs[["absent_classes", "test_images"]].dropna().drop_duplicates()
    notes += [
        f"None of the {count} test images shows {names}: its IoU is undefined and left out of means."
        for names, count in absent.itertuples(index=False)
    ]
    notes += [f"{row['cell']}: {row['note']}" for _, row in summary.iterrows() if row["note"]]
    return notes


def _edge_notes(summary: pd.DataFrame, records: Records) -> list[str]:
    """Return a note on values that were chosen at the edge of the tried values, with the remedy."""
    axes = {axis for names in summary["at_edge"] for axis in names.split(",") if axis}
    listed = {axis for axis in axes if str(records.study["tune"].get(axis)).startswith("Choice(")}
    advice = {
        "widen the range (--set NAME=LOW..HIGH) or try more points (trials_per_cell)": axes - listed,
        "list values beyond it (--set NAME=VALUE,VALUE,...)": listed,
    }
    remedies = [f"{', '.join(sorted(names))}: {remedy}" for remedy, names in advice.items() if names]
    return [f"* the best value lies at the edge of the tried values; {'; '.join(remedies)}"] if axes else []
