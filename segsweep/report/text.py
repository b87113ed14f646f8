"""The report of a study as text for a terminal: its answer, its table, and notes."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import pandas as pd

from segsweep.config.folds import folds_of
from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer, CellAnswer, answer_of
from segsweep.report.answer.limits import chance_text
from segsweep.report.answer.linearised import CLASS_IOU
from segsweep.report.answer.matching import level_text
from segsweep.report.answer.next_runs import next_lines, next_runs
from segsweep.report.answer.sentences import sentences
from segsweep.report.answer.words import capital, count, measure_text, unit_text
from segsweep.report.cells import compared_axes, confirmed_runs, is_search, summarise, tuned_axes
from segsweep.report.comparison import comparison_lines
from segsweep.report.layout import FIT, HEADINGS, INDENT, Column, fitted, number, text, wrapped
from segsweep.report.method import absent_lines, method_lines, protocol_line
from segsweep.report.not_started import budget_line
from segsweep.report.sections import published_lines, search_lines, shift_lines, source_lines

MORE_MEASURES = ("test_f1", "test_accuracy", "test_precision", "test_recall")
BEST = "*"  # mark of a cell that may be the best
CLASSES = 3  # from this number of classes, IoU is shown by class too


def table_text(records: Records, answer: Answer | None = None) -> str:
    """Return a study's answer in sentences, its table with one row per cell, and notes, as text.

    Tables have at most 80 columns. Notes name failures, protocol, sources and published numbers.
    """
    answer = answer or answer_of(records)
    summary = summarise(records)
    axes = [axis for axis in compared_axes(records) if summary[axis].nunique() > 1] or compared_axes(records)[:1]
    lines, dropped = fitted(_columns(summary, axes, records, answer))
    said = [line for sentence in sentences(answer) for line in wrap(sentence, FIT)]
    left_out = budget_line(records)
    blocks = [
        wrap(_title(records, summary), FIT, subsequent_indent=INDENT),
        said,
        wrap(left_out, FIT) if left_out else [],
        lines,
        _key(answer, dropped),
        search_lines(answer.search),
        _next_lines(records, answer),
        _class_lines(records, answer),
        wrapped([*_notes(summary, records), protocol_line(records)]),
        source_lines(records),
        shift_lines(records, axes),
        published_lines(records),
    ]
    return "\n\n".join("\n".join(block).strip("\n") for block in blocks if block)


def _columns(summary: pd.DataFrame, axes: Sequence[str], records: Records, answer: Answer) -> list[Column]:
    """Return the columns of the table; those of a high priority number leave it first if it is too wide."""
    cells = {cell.cell: cell for cell in answer.cells}
    own = [cells[name] for name in summary["cell"]]
    folded = folds_of(records.study["target"]["protocol"]) is not None
    at_edge = summary["at_edge"].str.split(",")
    tuned = [
        Column(
            HEADINGS.get(axis, axis),
            [text(value) + "*" * (axis in at) for value, at in zip(summary[axis], at_edge, strict=True)],
            priority=2,
        )
        for axis in tuned_axes(records)
    ]
    finished = [f"{done}/{planned}" for done, planned in zip(summary["seeds"], summary["seeds_planned"], strict=True)]
    lost = summary["failed"] + summary["skipped"]
    return [
        *(Column(axis, [_level(answer, axis, value) for value in summary[axis]], right=False) for axis in axes),
        Column(measure_text(answer), [_score(cell, answer, row) for cell, (_, row) in zip(own, summary.iterrows(), strict=True)]),
        Column("95 %", [_interval(cell) for cell in own], priority=0 if any(cell.has_interval for cell in own) else 1),
        Column("best", [_mark(cell, answer) for cell in own], priority=1),
        Column("runs" if folded else "seeds", finished, priority=1),
        *tuned,
        Column("failed", [str(count) if count else "" for count in lost], priority=3),
        Column("val IoU", [number(value) for value in summary["val_iou"]], priority=4),
        *(
            Column(HEADINGS[name], [number(value) for value in summary[name]], priority=5 + place)
            for place, name in enumerate(MORE_MEASURES)
        ),
        Column("stopped", [str(count) if count else "" for count in summary["stopped"]], priority=9),
    ]


def _level(answer: Answer, axis: str, value: object) -> str:
    """Return a level as text; sources by their short name, which leaves room for numbers."""
    return answer.level(axis, level_text(value)) if axis == "source" else text(value)


def _score(cell: CellAnswer, answer: Answer, row: "pd.Series[Any]") -> str:
    """Return the score in the middle of the interval; without scores per image, the mean test IoU over runs."""
    return number(cell.estimate if cell.units or answer.measure != "iou" else row["test_iou"])


def _interval(cell: CellAnswer) -> str:
    low, high = cell.interval
    return f"{100 * low:.1f} to {100 * high:.1f}" if cell.has_interval else ""


def _mark(cell: CellAnswer, answer: Answer) -> str:
    return BEST if answer.decides and cell.units and cell.beaten_by is None else ""


def _key(answer: Answer, dropped: Sequence[str]) -> list[str]:
    """Return the legend of the table: units, intervals, the mark of the best cells, and the columns that did not fit."""
    interval = f"; 95 %: interval of {measure_text(answer)} over {chance_text(answer)}"
    has_intervals = any(cell.has_interval for cell in answer.cells)
    parts = [f"Measures in points of 100, means over confirmed runs{interval if has_intervals else ''}"]
    if answer.decides:
        parts.append(f"best {BEST}: no other cell is shown to score higher")
    if dropped:
        parts.append(f"table.csv also has {', '.join(sorted(dropped))}")
    return wrap("; ".join(parts) + ".", FIT)


def _next_lines(records: Records, answer: Answer) -> list[str]:
    """Return the numbers of seeds that would decide open differences; no lines if there are none."""
    proposals = next_lines(next_runs(records, answer), unit_text(answer))
    return wrapped(capital(each) for each in proposals)


def _class_lines(records: Records, answer: Answer) -> list[str]:
    """Return a table of IoU by class, one column per cell, as many cells as fit: those that may be the best first."""
    runs = confirmed_runs(records)
    measures = [name for name in runs.columns if name.startswith(f"test_{CLASS_IOU}") and runs[name].notna().any()]
    if len(measures) < CLASSES:
        return []
    ranked = sorted(answer.confirmed, key=lambda cell: (cell.beaten_by is not None, -cell.estimate))
    names = [name.removeprefix(f"test_{CLASS_IOU}") for name in measures]
    number_of = {cell.cell: position for position, cell in enumerate(answer.cells, start=1)}
    of_cells = {cell.cell: runs[runs["cell"] == cell.cell][measures].mean() for cell in ranked}
    columns = [
        Column(f"cell {number_of[cell.cell]}", [number(of_cells[cell.cell][name]) for name in measures], priority=place)
        for place, cell in enumerate(ranked)
    ]
    lines, dropped = fitted([Column("class", names, right=False), *columns])
    legend = [f"cell {number_of[cell.cell]}: {cell.label}" for cell in ranked if f"cell {number_of[cell.cell]}" not in dropped]
    rest = [f"table.csv has {count(len(dropped), 'more cell')}"] if dropped else []
    return ["Test IoU by class:", "", *lines, "", *wrap("; ".join([*legend, *rest]) + ".", FIT)]


def _title(records: Records, summary: pd.DataFrame) -> str:
    """Return the study's name, its target, and the settings that all rows share."""
    study, target = records.study, records.study["target"]
    same = {axis: summary[axis].iloc[0] for axis in compared_axes(records) if summary[axis].nunique() == 1}
    fixed_text = ", ".join(f"{name}={value}" for name, value in {**same, **study["fixed"]}.items())
    return f"{study['name']}: target {target['name']}" + (f"; {fixed_text}" if fixed_text else "")


def _notes(summary: pd.DataFrame, records: Records) -> list[str]:
    notes = [
        *method_lines(records),
        *(["The column failed includes skipped trials."] if (summary["failed"] + summary["skipped"]).any() else []),
        *comparison_lines(records),
    ]
    notes += _edge_notes(summary, records)
    notes += absent_lines(records)
    notes += [f"{row['cell']}: {row['note']}" for _, row in summary.iterrows() if row["note"]]
    return notes


def _edge_notes(summary: pd.DataFrame, records: Records) -> list[str]:
    """Return a note on values that were chosen at the edge of the tried values, with the remedy."""
    axes = {axis for names in summary["at_edge"] for axis in names.split(",") if axis}
    listed = {axis for axis in axes if str(records.study["tune"].get(axis)).startswith("Choice(")}
    more = "" if is_search(records) else " or try more points (trials_per_cell)"
    advice = {
        f"widen the range (--set NAME=LOW..HIGH){more}": axes - listed,
        "list values beyond it (--set NAME=VALUE,VALUE,...)": listed,
    }
    remedies = [f"{', '.join(sorted(names))}: {remedy}" for remedy, names in advice.items() if names]
    return [f"* the best value lies at the edge of the tried values; {'; '.join(remedies)}"] if axes else []
