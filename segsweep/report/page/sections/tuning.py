"""The section on tuning: what the trials of each cell reached, per tuned axis."""

import math
from collections.abc import Iterator

import pandas as pd

from segsweep.report.answer.sentences import count, matters_text
from segsweep.report.cells import tuned_axes
from segsweep.report.page.document import Section
from segsweep.report.page.markup import element, markup
from segsweep.report.page.rates import TunedCell, TunedTrial, Tuning, tuning_figure
from segsweep.report.page.study_view import StudyView

CAPTION = (
    "Filled: finished; hollow: stopped early, dashed to what it would have reached if it had gained as much from there as the "
    "finished trials of its cell. Ring: chosen. Grey: within {matters} of the cell's best. One tuning seed."
)


def tuning_section(view: StudyView) -> Section | None:
    """Return a chart per tuned axis with positive numbers; None if there is none, or no trial has a reading."""
    figures = []
    for axis in tuned_axes(view.records):
        cells = tuple(_cells(view, axis))
        if cells:
            tuning = Tuning(axis.replace("_", " "), "validation IoU, points", 100 * view.answer.matters, cells)
            figures.append(tuning_figure(tuning, CAPTION.format(matters=matters_text(view.answer))))
    if not figures:
        return None
    edge = [view.label(str(cell)) for cell, names in view.table["at_edge"].items() if names]
    note = f"{count(len(edge), 'cell')} chose a value at the edge of the tried ones: {'; '.join(edge)}." if edge else None
    return Section("tuning", "Was every cell tuned fairly?", markup(element("p", note) if note else None, figures))


def _cells(view: StudyView, axis: str) -> Iterator[TunedCell]:
    trials = view.records.trials
    tuned = trials[(trials["phase"] == "tune") & trials["status"].isin(["finished", "stopped"]) & trials["val_iou"].notna()]
    values = pd.to_numeric(tuned[axis], errors="coerce") if axis in tuned else pd.Series(dtype="float64")
    tuned = tuned[(values > 0).reindex(tuned.index, fill_value=False)]
    curves = _best_so_far(view.records.epochs[view.records.epochs["trial_id"].isin(tuned["trial_id"])])
    for cell in view.answer.cells:
        own = tuned[tuned["cell"] == cell.cell]
        if len(own):
            edge = axis in str(view.table.loc[cell.cell, "at_edge"]).split(",")
            yield TunedCell(cell.label, tuple(_trials(own, axis, curves)), edge)


def _best_so_far(epochs: pd.DataFrame) -> "dict[str, pd.Series[float]]":
    """Return, for each trial, the best validation IoU up to each epoch."""
    readings = epochs.dropna(subset=["val_iou"]).sort_values("epoch")
    return {str(trial): rows.set_index("epoch")["val_iou"].cummax() for trial, rows in readings.groupby("trial_id")}


def _trials(own: pd.DataFrame, axis: str, curves: "dict[str, pd.Series[float]]") -> Iterator[TunedTrial]:
    finished = [curves[trial] for trial in own.loc[own["status"] == "finished", "trial_id"] if trial in curves]
    for row in own.to_dict("records"):
        curve, value = curves.get(str(row["trial_id"])), float(row[axis])
        if row["status"] == "finished" or curve is None or curve.empty:
            yield TunedTrial(value, 100 * float(row["val_iou"]), is_chosen=bool(row["chosen"]))
            continue
        epoch = int(curve.index[-1])
        gains = [float(each.iloc[-1] - each.loc[:epoch].iloc[-1]) for each in finished if len(each.loc[:epoch])]
        expected = 100 * (float(curve.iloc[-1]) + sum(gains) / len(gains)) if gains else math.nan
        yield TunedTrial(value, 100 * float(curve.iloc[-1]), epoch, expected, bool(row["chosen"]))
