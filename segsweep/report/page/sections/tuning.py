"""The section on tuning: what the trials of each cell reached, per tuned axis."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from segsweep.report.answer.contrasts import Floats
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
READ = ["trial_id", "cell", "status", "val_iou", "chosen"]


@dataclass(frozen=True)
class BestSoFar:
    """The epochs with a reading of a trial, ascending, and the best validation IoU up to each of them."""

    epochs: Floats
    best: Floats

    def at(self, epoch: float) -> float:
        """Return the best reading up to an epoch; NaN before the first one."""
        place = int(np.searchsorted(self.epochs, epoch, side="right"))
        return float(self.best[place - 1]) if place else math.nan


def tuning_section(view: StudyView) -> Section | None:
    """Return a chart per tuned axis with positive numbers; None if there is none, or no trial has a reading."""
    caption = CAPTION.format(matters=matters_text(view.answer))
    figures = []
    for axis in tuned_axes(view.records):
        cells = tuple(_cells(view, axis))
        if cells:
            tuning = Tuning(axis.replace("_", " "), "validation IoU, points", 100 * view.answer.matters, cells)
            figures.append(tuning_figure(tuning, caption))
    if not figures:
        return None
    edge = [view.label(str(cell)) for cell, names in view.table["at_edge"].items() if names]
    note = f"{count(len(edge), 'cell')} chose a value at the edge of the tried ones: {'; '.join(edge)}." if edge else None
    return Section("tuning", "Was every cell tuned fairly?", markup(element("p", note) if note else None, figures))


def _cells(view: StudyView, axis: str) -> Iterator[TunedCell]:
    tuned = _tuned(view, axis)
    curves = _curves(view.records.epochs, set(tuned["trial_id"]))
    of_cells = dict(list(tuned.groupby("cell")))
    for cell in view.answer.cells:
        if cell.cell in of_cells:
            edge = axis in str(view.row(cell.cell)["at_edge"]).split(",")
            yield TunedCell(cell.label, tuple(_trials(of_cells[cell.cell], curves)), edge)


def _tuned(view: StudyView, axis: str) -> pd.DataFrame:
    """Return the tuning trials with a reading: the columns `READ` and `value`, the positive number on the axis."""
    trials = view.records.trials
    kept = (trials["phase"] == "tune") & trials["status"].isin(["finished", "stopped"]) & trials["val_iou"].notna()
    rows = trials.loc[kept, READ]
    values = pd.to_numeric(trials.loc[kept, axis], errors="coerce") if axis in trials else pd.Series(dtype="float64")
    rows = rows.assign(value=values.reindex(rows.index).astype("float64"))
    return rows[rows["value"] > 0]


def _curves(epochs: pd.DataFrame, trials: set[str]) -> dict[str, BestSoFar]:
    readings = epochs.loc[epochs["trial_id"].isin(trials), ["trial_id", "epoch", "val_iou"]].dropna().sort_values("epoch")
    best = readings.groupby("trial_id")["val_iou"].cummax().to_numpy(dtype=np.float64)
    numbers = readings["epoch"].to_numpy(dtype=np.float64)
    return {str(trial): BestSoFar(numbers[at], best[at]) for trial, at in readings.groupby("trial_id").indices.items()}


def _trials(own: pd.DataFrame, curves: Mapping[str, BestSoFar]) -> Iterator[TunedTrial]:
    finished = [curves[trial] for trial in own.loc[own["status"] == "finished", "trial_id"] if trial in curves]
    for trial, _, status, reading, chosen, value in own.itertuples(index=False):
        curve, is_chosen = curves.get(str(trial)), bool(pd.notna(chosen) and chosen)
        if status == "finished" or curve is None:
            yield TunedTrial(value, 100 * float(reading), is_chosen=is_chosen)
        else:
            yield _stopped(value, curve, finished, is_chosen)


def _stopped(value: float, curve: BestSoFar, finished: Sequence[BestSoFar], is_chosen: bool) -> TunedTrial:
    """Return a stopped trial with the reading that it would have with the mean gain of the finished ones from its last epoch."""
    epoch, reached = float(curve.epochs[-1]), float(curve.best[-1])
    gains = [float(each.best[-1]) - each.at(epoch) for each in finished]
    gains = [gain for gain in gains if math.isfinite(gain)]
    expected = 100 * (reached + sum(gains) / len(gains)) if gains else math.nan
    return TunedTrial(value, 100 * reached, int(epoch), expected, is_chosen)
