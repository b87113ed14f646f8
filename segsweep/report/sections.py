"""Sections below a study's table: its sources, before and after fine-tuning, and the published numbers."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import pandas as pd

from segsweep.config.published_results import DEVIATIONS
from segsweep.records.study_records import Records
from segsweep.report.comparison import rate_lines
from segsweep.report.layout import FIT, Column, fitted, heading, number, text, wrapped
from segsweep.report.published_comparison import beside_published
from segsweep.report.search import SearchView
from segsweep.report.shift import shift_table
from segsweep.report.sources import QUALITY, source_rates, trained_sources

SHIFT = (
    "Before: source classes are mapped by name and class_map; all others count as background. Source mean IoU: on the source's "
    "validation images; after: the transferred parameters have their fine-tuned values, all others those of the source model."
)
EXPLORED = (
    "A search tries good values more often, each beside other values: these scores do not compare the values of an axis; a grid "
    "does."
)
QUALITY_NOTES = {
    "contrastive_accuracy": "contrastive: share of held-out views matched with the other view of their image in a batch; "
    "chance: by guessing",
    "knn_accuracy": "k-NN: share of held-out images whose label a k-NN classifier on the encoder's features predicts; "
    "before: with the encoder before the stage; chance: always the most frequent label",
}
LEAVE_FIRST = {"knn_chance": 4, "contrastive_chance": 3, "knn_accuracy_start": 2, "source_seed": 1}  # columns of sources


def search_lines(view: SearchView | None) -> list[str]:
    """Return the history of a search and the table of what it explored; none for a grid."""
    if view is None or not view.history:
        return []
    history = [
        Column("trials", [f"{found.trials:,}" for found in view.history]),
        Column("epochs", [f"{found.epochs:,}" for found in view.history]),
        Column(f"best {view.short_measure}", [view.score(found.best) for found in view.history]),
    ]
    explored = [
        Column("axis", [each.axis for each in view.explored], right=False),
        Column("value", [each.level for each in view.explored], right=False),
        Column("trials", [f"{each.trials:,}" for each in view.explored]),
        Column("finished", [f"{each.finished:,}" for each in view.explored]),
        Column(f"best {view.short_measure}", [view.score(each.best) for each in view.explored]),
    ]
    table = ["", "Values that the search explored:", "", *fitted(explored)[0], *wrapped([EXPLORED])] if view.explored else []
    return ["The best score so far, of the trials that finished:", "", *fitted(history)[0], *table]


def source_lines(records: Records) -> list[str]:
    """Return lines on the quality of the trained sources on their own held-out images; none without trained sources."""
    rows = trained_sources(records)
    if rows.empty:
        return []
    measured = [name for name in QUALITY if name in rows]
    columns = [
        Column(
            heading(name),
            [number(value) if name in measured else text(value) for value in rows[name]],
            right=name not in ("stage", "model"),
            priority=LEAVE_FIRST.get(name, 0),
        )
        for name in map(str, rows.columns)
    ]
    lines, dropped = fitted(columns)
    more = [f"The table stages of the records also has {', '.join(dropped)}."] if dropped else []
    notes = [*(note for name, note in QUALITY_NOTES.items() if name in measured), *more, *rate_lines(records)]
    return ["Sources as trained:", "", *lines, *wrapped(notes), *_rates_tried(records)]


def _rates_tried(records: Records) -> list[str]:
    """Return the table of tried source learning rates; no lines if they are not tuned."""
    rows = source_rates(records)
    if rows.empty:
        return []
    chosen = [text(rate) + "*" * edge for rate, edge in zip(rows["learning_rate"], rows["at_edge"], strict=True)]
    names = [Column(name, list(rows[name]), right=False) for name in ("stage", "model")]
    edge = "* the lowest or highest tried rate was best: widen the range of source_learning_rate, or try more (source_trials)"
    title = "Source learning rates, chosen by the source's own validation split (keep, the mean of the last three epochs):"
    lines, _ = fitted([*names, Column("chosen", chosen), Column("tried", list(rows["tried"]))])
    return ["", *wrapped([title]), "", *lines, *wrapped([edge] if rows["at_edge"].any() else [])]


def shift_lines(records: Records, axes: list[str]) -> list[str]:
    """Return lines on the measures before and after fine-tuning; none for a study without `domain_shift`."""
    rows = shift_table(records)
    if rows.empty:
        return []
    measures = [str(name).removeprefix("before_") for name in rows.columns if str(name).startswith("before_")]
    pairs = {name: (rows[f"before_{name}"], rows[f"test_{name}"]) for name in measures}
    pairs["source_mean_iou_before"] = (rows["source_mean_iou_before"], rows["source_mean_iou_after"])
    columns = [
        Column(heading(name), [_change(*both) for both in zip(*pair, strict=True)], priority=place)
        for place, (name, pair) in enumerate(pairs.items())
    ]
    columns.append(Column("forgetting", [number(value) for value in rows["forgetting"]], priority=len(columns)))
    lines, dropped = fitted([*(Column(axis, [text(value) for value in rows[axis]], right=False) for axis in axes), *columns])
    title = "Before (the source's own model) and after fine-tuning, on the test split; and on the source:"
    return [*wrapped([title]), "", *lines, *wrapped([*_more("shift.csv", dropped), SHIFT])]


def _change(before: float, after: float) -> str:
    return " to ".join(each for each in (number(before), number(after)) if each)


def published_lines(records: Records) -> list[str]:
    """Return lines with the results beside the published numbers; none for a study without published numbers."""
    rows = beside_published(records)
    if rows.empty:
        return []
    published = records.study["published"]
    measures = [str(name).removesuffix("_published") for name in rows.columns if str(name).endswith("_published")]
    columns = [Column(heading(name), _beside(rows, name), priority=place) for place, name in enumerate(measures)]
    lines, dropped = fitted([Column("run", list(rows["run"]), right=False), *columns])
    notes = [*_more("published.csv", dropped), *([published["note"]] if published["note"] else [])]
    title = f"Compared with {published['where']}; the published numbers are in brackets:"
    return [*wrapped([title]), "", *lines, *wrapped(notes), *_deviation_lines(published)]


def _beside(rows: pd.DataFrame, measure: str) -> list[str]:
    """Return a measure of every run with the published number in brackets: `61.3 (65.2)`."""
    pairs = zip(rows[measure], rows[f"{measure}_published"], strict=True)
    texts = [(number(own, measure), number(published, measure)) for own, published in pairs]
    return [" ".join(each for each in (own, f"({published})" * bool(published)) if each) for own, published in texts]


def _more(file: str, dropped: Sequence[str]) -> list[str]:
    """Return a line that names the columns that only a file has."""
    return [f"{file} also has {', '.join(reversed(dropped))}."] if dropped else []


def _deviation_lines(published: Mapping[str, Any]) -> list[str]:
    """Return the deviations of a study from the published runs that it repeats; no lines if none are stated."""
    points = [wrap(f"- {each}", FIT, subsequent_indent="  ", break_on_hyphens=False) for each in published.get("deviations", ())]
    return ["", DEVIATIONS, "", *(line for point in points for line in point)] if points else []
