"""What the records of a search say: how far it has come, its best score over its trials, and which values it explored."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from segsweep.config.keep import smoothed
from segsweep.config.setting_fields import DEFAULT_KEEP
from segsweep.records.readings import curves_of
from segsweep.records.schema import FINAL
from segsweep.records.study_records import Records
from segsweep.report.cells import compared_axes, is_search, tuned_axes
from segsweep.report.layout import text

SHOWN = 12  # rows of the history
BINS = 4  # parts of a range whose values span few decades
WIDE = 20.0  # from this ratio of the largest to the smallest value, a range is shown by decades
MEASURES = {"val_loss": "validation loss", "val_dice": "validation Dice"}


@dataclass(frozen=True)
class Found:
    """The best score after a number of ended trials and their epochs, all together; the score is NaN before the first one."""

    trials: int
    epochs: int
    best: float


@dataclass(frozen=True)
class Explored:
    """One value or part of a searched axis: its trials, how many of them finished, and their best score (NaN without one)."""

    axis: str
    level: str
    trials: int
    finished: int
    best: float


@dataclass(frozen=True)
class SearchView:
    """A search as its records show it.

    Scores are those by which the search chooses: the mean of `measure` over the last readings of a finished trial.

    Attributes:
        planned: Number of trials in the declaration; `trials` is the number of those that have ended.
        cells: Number of cells in its space; `cells_tried` is the number of those with a trial.
        epochs: Epochs of all trials, counting those of stopped ones.
        measure: The measure in words; `is_loss` says that lower is better.
        history: The best score so far, after increasing numbers of trials.
        explored: The values of every searched axis.
    """

    planned: int
    trials: int
    cells: int
    cells_tried: int
    epochs: int
    measure: str
    is_loss: bool
    history: tuple[Found, ...]
    explored: tuple[Explored, ...]

    @property
    def short_measure(self) -> str:
        """The measure, for the heading of a column."""
        return self.measure.replace("validation", "val")

    @property
    def best(self) -> float:
        """The best score of all trials; NaN without one."""
        return self.history[-1].best if self.history else math.nan

    def score(self, value: float) -> str:
        """Return a score as text: points of 100, or a loss."""
        if math.isnan(value):
            return ""
        return f"{-value:.4f}" if self.is_loss else f"{100 * value:.1f}"


def search_view(records: Records) -> SearchView | None:
    """Return the search of a study; None for a grid."""
    if not is_search(records):
        return None
    trials = records.trials[records.trials["phase"] == "search"]
    rows = _scored(records, trials).sort_values(["ended_at", "point"], ignore_index=True)
    keeps = list(trials["keep"].fillna(DEFAULT_KEEP).unique())
    keep = str(keeps[0]) if keeps else DEFAULT_KEEP
    return SearchView(
        planned=int(records.study["search"]["trials"]),
        trials=len(rows),
        cells=len(records.study["cells"]),
        cells_tried=int(trials["cell"].nunique()),
        epochs=int(rows["epochs"].sum()),
        measure=MEASURES.get(keep, "validation IoU"),
        is_loss=keep == "val_loss",
        history=tuple(_history(rows)),
        explored=tuple(_explored(records, rows)),
    )


def _scored(records: Records, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the ended trials with the columns `epochs`, the number that they ran, and `score`, NaN unless they finished."""
    epochs = records.epochs[records.epochs["trial_id"].isin(set(trials["trial_id"]))]
    curves = curves_of(trials, epochs, "search")
    rows = trials[trials["status"].isin(FINAL)]
    scores, lengths = [], []
    for trial, status in zip(rows["trial_id"], rows["status"], strict=True):
        readings = [found for _, found in sorted(curves.get(trial, {}).items())]
        lengths.append(len(readings))
        scores.append(smoothed(readings).value if readings and status == "finished" else math.nan)
    return rows.assign(epochs=lengths, score=scores)


def _history(rows: pd.DataFrame) -> Iterator[Found]:
    """Yield the best score at about `SHOWN` numbers of trials, evenly spaced, and after the last one."""
    best, epochs = rows["score"].cummax().ffill(), rows["epochs"].cumsum()
    for number in sorted({math.ceil(len(rows) * part / SHOWN) for part in range(1, SHOWN + 1)} - {0}):
        yield Found(number, int(epochs.iloc[number - 1]), float(best.iloc[number - 1]))


def _explored(records: Records, rows: pd.DataFrame) -> Iterator[Explored]:
    """Yield the values of every axis that differs between trials, or between the cells of the search."""
    listed = [axis for axis in compared_axes(records) if rows[axis].nunique(dropna=False) > 1]
    for axis in listed:
        levels = rows[axis].map(lambda value: text(value) or "none")
        yield from _levels(axis, rows, levels, list(dict.fromkeys(levels)))
    for axis in tuned_axes(records):
        values = rows[axis]
        if values.nunique() < 2:
            continue
        if str(records.study["tune"][axis]).startswith("Choice(") or not pd.api.types.is_numeric_dtype(values):
            levels = values.map(text)
            yield from _levels(axis, rows, levels, list(dict.fromkeys(levels)))
        else:
            edges = _edges(values.astype("float64").dropna())
            names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
            levels = pd.cut(values.astype("float64"), edges, labels=names, include_lowest=True).astype(object)
            yield from _levels(axis, rows, levels, names)


def _edges(values: "pd.Series[float]") -> list[float]:
    """Return the edges of the parts of a range: its decades if its values span more than one, otherwise equal parts."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low > WIDE:
        return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    return [float(edge) for edge in np.linspace(low, high, BINS + 1)]


def _levels(axis: str, rows: pd.DataFrame, levels: "pd.Series[str]", names: list[str]) -> Iterator[Explored]:
    for name in names:
        own = rows[levels == name]
        if len(own):
            yield Explored(axis, name, len(own), int((own["status"] == "finished").sum()), float(own["score"].max()))


def search_sentence(view: SearchView) -> str:
    """Return the sentence on the course of a search, and on what its best score is not."""
    number = f"{view.trials:,}" if view.trials == view.planned else f"{view.trials:,} of {view.planned:,}"
    tried = f"{number} trials ({view.epochs:,} epochs) in {view.cells_tried} of {view.cells} cells"
    if not view.score(view.best):
        return f"The search has run {tried}; none has finished."
    return (
        f"The search ran {tried}; its best {view.measure}, {view.score(view.best)}, is optimistic, because it is the best of all "
        "trials on the same images: confirmed runs on new seeds measure the best settings without this choice."
    )
