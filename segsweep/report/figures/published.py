"""Figure of a study's runs beside the published numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.cells import confirmed_runs
from segsweep.report.figures.looks import COLOURS
from segsweep.report.figures.panels import grid, name_rows
from segsweep.report.published_comparison import beside_published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def published_figure(records: Records, measures: Mapping[str, str]) -> "Figure | None":
    """Return a figure with one panel per measure (column of `trials`: label), one row per published run.

    None for a study without published numbers. A row without points has no corresponding cell, or none with a finished run.
    """
    published = beside_published(records)
    if published.empty:
        return None
    rows = published[["run", "cell"]].merge(confirmed_runs(records), on="cell", how="left")
    size = (8.0 if len(measures) == 1 else 3.6, 0.4 * len(published) + 1.4)
    figure, (axes,) = grid(1, len(measures), size, sharey=True)
    for ax, (measure, label) in zip(axes, measures.items(), strict=True):
        draw_rows(ax, rows, "run", measure, dict(zip(published["run"], published[f"{measure}_published"], strict=True)))
        ax.set_xlabel(label)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def draw_rows(ax: "Axes", runs: pd.DataFrame, label: str, measure: str, published: Mapping[str, float] | None = None) -> None:
    """Draw one row per value of the column `label`: a point per run, a bar at their mean, a diamond at the published number.

    Rows are in the order of `runs`, the first one at the top.
    """
    published = published or {}
    names = list(dict.fromkeys([*runs[label], *published]))
    for row, name in enumerate(names):
        values = runs.loc[runs[label] == name, measure].dropna()
        ax.plot(values, [row] * len(values), "o", color=COLOURS[0], alpha=0.6, label="a seed" if row == 0 else None)
        ax.plot(values.mean(), row, "|", color="black", markersize=16, markeredgewidth=2, label="mean" if row == 0 else None)
    if published:
        rows = [names.index(name) for name in published]
        ax.plot(list(published.values()), rows, "D", color=COLOURS[1], fillstyle="none", label="published")
    name_rows(ax, names)
