"""Sections below a study's table: its sources, before and after fine-tuning, and the published numbers."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from segsweep.config.published_results import DEVIATIONS
from segsweep.records.study_records import Records
from segsweep.report.comparison import rate_lines
from segsweep.report.layout import heading, lines_of, new_table, number, text
from segsweep.report.published_comparison import beside_published
from segsweep.report.shift import shift_table
from segsweep.report.sources import QUALITY, source_rates, trained_sources

NOTE_WIDTH = 130  # characters per line
SHIFT = (
    "Before: source classes are mapped by name and class_map; all others count as background. Source mean IoU: on the source's",
    "validation images; after: the transferred parameters have their fine-tuned values, all others those of the source model.",
)
QUALITY_NOTES = {
    "contrastive_accuracy": "contrastive: share of held-out views matched with the other view of their image in a batch; "
    "chance: by guessing",
    "knn_accuracy": "k-NN: share of held-out images whose label a k-NN classifier on the encoder's features predicts; "
    "before: with the encoder before the stage; chance: always the most frequent label",
}


def source_lines(records: Records) -> list[str]:
    """Return lines on the quality of the trained sources on their own held-out images; none without trained sources."""
    rows = trained_sources(records)
    if rows.empty:
        return []
    table, measured = new_table(), [name for name in QUALITY if name in rows]
    plain = [str(name) for name in rows.columns if name not in measured]
    for name in map(str, rows.columns):
        table.add_column(heading(name), justify="left" if name in ("stage", "model") else "right")
    for _, row in rows.iterrows():
        table.add_row(*(text(row[name]) for name in plain), *(number(row[name]) for name in measured))
    notes = [*(note for name, note in QUALITY_NOTES.items() if name in measured), *rate_lines(records)]
    return ["", "Sources as trained:", "", *lines_of(table), *notes, *_rates_tried(records)]


def _rates_tried(records: Records) -> list[str]:
    """Return the table of tried source learning rates; no lines if they are not tuned."""
    rows = source_rates(records)
    if rows.empty:
        return []
    table = new_table()
    for name, title in (("stage", "stage"), ("model", "model"), ("learning_rate", "chosen"), ("tried", "tried")):
        table.add_column(title, justify="right" if name == "learning_rate" else "left")
    for _, row in rows.iterrows():
        chosen = text(row["learning_rate"]) + ("*" if row["at_edge"] else "")
        table.add_row(row["stage"], row["model"], chosen, row["tried"])
    edge = "* the lowest or highest tried rate was best: widen the range of source_learning_rate, or try more (source_trials)"
    title = "Source learning rates, chosen by the source's own validation split (keep, the mean of the last three epochs):"
    return ["", title, "", *lines_of(table), *([edge] if rows["at_edge"].any() else [])]


def shift_lines(records: Records, axes: list[str]) -> list[str]:
    """Return lines on the measures before and after fine-tuning; none for a study without `domain_shift`."""
    rows = shift_table(records)
    if rows.empty:
        return []
    table = new_table()
    for axis in axes:
        table.add_column(axis)
    numbers = [name for name in rows.columns if name.startswith(("before_", "test_", "source_mean", "forgetting"))]
    for name in numbers:
        after = name.startswith("test_") or name == "source_mean_iou_after"
        table.add_column("after" if after else heading(name), justify="right")
    for _, row in rows.iterrows():
        table.add_row(*(text(row[axis]) for axis in axes), *(number(row[name]) for name in numbers))
    return [
        "",
        "Before (the source's own model) and after fine-tuning, on the test split; and on the source:",
        "",
        *lines_of(table),
        *SHIFT,
    ]


def published_lines(records: Records) -> list[str]:
    """Return lines with the results beside the published numbers; none for a study without published numbers."""
    rows = beside_published(records)
    if rows.empty:
        return []
    published = records.study["published"]
    table = new_table()
    table.add_column("run")
    measures = [name for name in rows.columns if name.endswith("_published")]
    for name in measures:
        measure = name.removesuffix("_published")
        table.add_column(heading(measure), justify="right")
        table.add_column("published", justify="right")
    for _, row in rows.iterrows():
        pairs = [(row[name.removesuffix("_published")], row[name]) for name in measures]
        table.add_row(
            row["run"],
            *(
                number(value, name.removesuffix("_published"))
                for name, pair in zip(measures, pairs, strict=True)
                for value in pair
            ),
        )
    note = [published["note"]] if published["note"] else []
    return ["", f"Compared with {published['where']}:", "", *lines_of(table), *note, *_deviation_lines(published)]


def _deviation_lines(published: Mapping[str, Any]) -> list[str]:
    """Return the deviations of a study from the published runs that it repeats; no lines if none are stated."""
    points = [
        wrap(f"- {each}", NOTE_WIDTH, subsequent_indent="  ", break_on_hyphens=False) for each in published.get("deviations", ())
    ]
    return ["", DEVIATIONS, "", *(line for point in points for line in point)] if points else []
