"""Figures of the scores against what they cost: training time, parameters, prediction time."""

from itertools import cycle
from typing import TYPE_CHECKING

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer
from segsweep.report.answer.words import measure_text
from segsweep.report.cells import confirmed_runs
from segsweep.report.figures.looks import legend_below, looks
from segsweep.report.figures.names import Names
from segsweep.report.figures.panels import grid
from segsweep.report.sources import with_those_before

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILLS = ("full", "none", "left", "right", "top", "bottom")


def cell_seconds(records: Records) -> "pd.Series[float]":
    """Return the training time of each cell in seconds: tuning trials, confirmed runs, and its source with all of its stages.

    Cells with the same source share its training; each counts it in full. A source that was in the store before counts nothing.
    """

    def of_sources(stage_ids: "pd.Series[str]") -> float:
        needed = with_those_before(records, stage_ids.dropna())
        return float(records.stages.loc[records.stages["stage_id"].isin(needed), "seconds"].sum())

    cells = records.trials.groupby("cell", sort=False)
    return cells["seconds"].sum() + cells["stage_id"].agg(of_sources)


def cost_figure(records: Records, answer: Answer) -> "Figure | None":
    """Return a figure of the score of every confirmed cell, with its interval, against its training time; None without any.

    The colour is the source; points are hollow where something is frozen.
    """
    if not answer.confirmed:
        return None
    seconds, design = cell_seconds(records), Names.of(records)
    lines = design.lines()
    styles = looks(lines[cell.cell] for cell in answer.confirmed)
    figure, ((ax,),) = grid(1, 1, (8.0, 4.6))
    for cell in answer.confirmed:
        frozen = design.design.cells[cell.cell].get("freeze", "none") != "none"
        look = {**styles[lines[cell.cell]], "fillstyle": "none" if frozen else "full", "markersize": 8}
        ax.errorbar(seconds[cell.cell], 100 * cell.estimate, yerr=100 * cell.half, capsize=3, linewidth=1, **look)
    ax.set(xlim=(0, None), xlabel="training time of the cell, seconds", ylabel=f"test {measure_text(answer)}, points")
    ax.set_title("Hollow: something is frozen", fontsize="medium")
    ax.grid(alpha=0.3)
    legend_below(figure, styles, columns=2)
    return figure


def size_figure(records: Records, answer: Answer) -> "Figure | None":
    """Return a figure of the answer's measure against trainable parameters and prediction time; None without runs.

    Each point is a confirmed run. The colour is the architecture, the fill the combination of the other axes.
    """
    from matplotlib.lines import Line2D

    runs, names = confirmed_runs(records), Names.of(records)
    if runs.empty:
        return None
    runs = runs.assign(line=runs["cell"].map(names.lines("architecture")), rest=runs["cell"].map(names.panels("architecture")))
    runs = runs.assign(millions=runs["trainable_parameters"] / 1e6, ms=1e3 * runs["predict_seconds"] / runs["test_images"])
    styles, fills = looks(runs["line"]), dict(zip(runs["rest"].unique(), cycle(FILLS), strict=False))
    figure, ((left, right),) = grid(1, 2, (5.0, 4.2), sharey=True)
    for (name, rest), own in runs.groupby(["line", "rest"], sort=False):
        for ax, x in ((left, "millions"), (right, "ms")):
            ax.plot(
                own[x],
                100 * own[f"test_{answer.measure}"],
                **styles[str(name)],
                fillstyle=fills[rest],
                linestyle="",
                markersize=8,
            )
    left.set(xlim=(0, None), xlabel="trainable parameters, millions", ylabel=f"test {measure_text(answer)}, points")
    right.set(xlim=(0, None), xlabel="prediction time, milliseconds per image")
    for ax in (left, right):
        ax.grid(alpha=0.3)
    kinds = [
        Line2D([], [], color="black", marker="o", linestyle="", fillstyle=fill, label=rest.replace("\n", ", "))
        for rest, fill in fills.items()
    ]
    legend_below(figure, {name: {**style, "linestyle": ""} for name, style in styles.items()}, kinds if len(kinds) > 1 else [])
    return figure
