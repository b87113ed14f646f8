"""The section on tuning: what the trials of each cell reached, per tuned axis, and what one value for all would have cost."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.tuned_rates import OneRate, RatePanel, TriedRate, TunedRates, best_at_one_rate, tuned_rates
from segsweep.report.answer.words import count, listed, matters_text, points
from segsweep.report.cells import tuned_axes
from segsweep.report.page.document import Section
from segsweep.report.page.figure import paragraphs
from segsweep.report.page.markup import Markup, markup
from segsweep.report.page.rates import TunedCell, TunedTrial, Tuning, tuning_figure
from segsweep.report.page.study_view import StudyView

READ = ("trial_id", "cell", "phase", "status", "fold", "point")
CAPTION = (
    "Filled: finished; hollow: stopped early, dashed to what it would have reached if it had gained as much from there as the "
    "finished trials of its cell. Ring: chosen. Grey: within {matters} of the cell's best."
)
ONE_SEED = "These readings come from one tuning seed, so they have no intervals."


def tuning_section(view: StudyView) -> Section | None:
    """Return a chart per tuned axis with positive numbers; None if there is none, or no trial has a reading."""
    parts = [_axis(view, rates) for axis in _numeric(view.records) if (rates := _rates(view, axis)) is not None]
    return Section("tuning", "Was every cell tuned fairly?", markup(parts)) if parts else None


def _numeric(records: Records) -> Iterator[str]:
    """Yield the tuned axes of the target with positive numbers."""
    for axis in tuned_axes(records):
        values = pd.to_numeric(records.trials[axis], errors="coerce") if axis in records.trials else pd.Series(dtype="float64")
        if (values.dropna() > 0).any() and (values.dropna() > 0).all():
            yield axis


def _rates(view: StudyView, axis: str) -> TunedRates | None:
    """Return the tuning of an axis; None without a reading."""
    narrow = replace(view.records, trials=view.records.trials[[*READ, axis]])  # selecting rows of all columns takes long
    found = tuned_rates(narrow, axis, view.answer.matters)
    return found if found and any(math.isfinite(tried.value) for panel in found.panels for tried in panel.tried) else None


def _axis(view: StudyView, rates: TunedRates) -> Markup:
    name, matters = rates.axis.replace("_", " "), matters_text(view.answer)
    cells = tuple(_cell(view, panel) for panel in rates.panels if any(math.isfinite(tried.value) for tried in panel.tried))
    tuning = Tuning(name, "validation IoU, points", 100 * view.answer.matters, cells)
    lines = [*_edge(view, rates), *_plateau(rates, matters), *_one_rate(view, rates, name), ONE_SEED]
    return markup(paragraphs([" ".join(lines)]), tuning_figure(tuning, CAPTION.format(matters=matters)))


def _cell(view: StudyView, panel: RatePanel) -> TunedCell:
    label = view.label(panel.cell) + (f", fold {panel.fold}" if panel.fold is not None else "")
    trials = (_trial(tried, panel.chosen) for tried in panel.tried if math.isfinite(tried.value))
    return TunedCell(label, tuple(trials), panel.at_edge)


def _trial(tried: TriedRate, chosen: float | None) -> TunedTrial:
    finished = tried.status == "finished"
    expected = math.nan if finished else 100 * tried.predicted
    return TunedTrial(tried.rate, 100 * tried.value, None if finished else tried.epoch, expected, tried.rate == chosen)


def _edge(view: StudyView, rates: TunedRates) -> Iterator[str]:
    if rates.at_edge:
        cells = listed([view.label(cell) for cell in rates.at_edge])
        yield f"{count(len(rates.at_edge), 'cell')} chose a value at the edge of the tried ones: {cells}."


def _plateau(rates: TunedRates, matters: str) -> Iterator[str]:
    widths = [panel.plateau_decades for panel in rates.panels if math.isfinite(panel.plateau_decades)]
    if widths and not np.median(widths):
        yield f"In half of the cells or more, no neighbouring finished trial lies within {matters} of the best one."
    elif widths:
        decades = f"{np.median(widths):.1f} decades (median over cells)"
        yield f"Around the best value, finished trials lie within {matters} of it over {decades}."


def _one_rate(view: StudyView, rates: TunedRates, name: str) -> Iterator[str]:
    """Yield what the best single value for all cells would have cost, and whether other cells would be among the best."""
    if rates.one_rate is None or len({panel.cell for panel in rates.panels}) < 2:
        return
    one = rates.one_rate
    yield (
        f"With one {name} for all cells, {one.rate:.3g}, cells would have lost {points(one.cost)} points of validation IoU on "
        f"average, or {points(one.most)} if every stopped trial had been as bad as the worst one of its cell."
    )
    yield from _other_best(view, one)


def _other_best(view: StudyView, one: OneRate) -> Iterator[str]:
    scores = view.answer.scores
    engine = scores.engine(scores.cells) if scores.cells and view.answer.decides else None
    if engine is not None and engine.contrasts.decides and len(engine.cells) == len(view.answer.confirmed):
        changed = int((best_at_one_rate(engine.contrasts, engine.cells, one) != engine.contrasts.best()).sum())
        yield (
            f"{count(changed, 'cell')} would have entered or left the set of the best."
            if changed
            else "The set of the best cells would have been the same."
        )
