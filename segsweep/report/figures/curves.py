"""Figures of measures per epoch: a line per source, architecture or other axis, with a band over runs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.cells import confirmed_runs
from segsweep.report.figures.looks import Style, legend_below, looks
from segsweep.report.figures.names import Names
from segsweep.report.figures.panels import grid, panels
from segsweep.report.figures.scales import scale_losses

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSSES = {"train_loss": "training", "val_loss": "validation"}
LINES: dict[str, Style] = {"train_loss": {"linestyle": "-", "marker": ""}, "val_loss": {"linestyle": ":", "marker": ""}}


def draw_curves(
    ax: "Axes", epochs: pd.DataFrame, measure: str, by: str, styles: Mapping[str, Style], x: str = "epoch", **line: Any
) -> None:
    """Draw a measure per epoch, one line per value of the column `by`: the mean over runs, and a band from minimum to maximum.

    `x` can be `steps` instead of `epoch`. `line` are further keyword arguments of `Axes.plot`.
    """
    for name, group in epochs.dropna(subset=[measure]).groupby(by, sort=False):
        spread = group.groupby(x)[measure].agg(["mean", "min", "max"])
        style = {**styles[str(name)], "markersize": 4, **line}
        ax.plot(spread.index, spread["mean"], **style, label=str(name))
        ax.fill_between(spread.index, spread["min"], spread["max"], color=style["color"], alpha=0.15, linewidth=0)
    if epochs[x].nunique() > 1:
        ax.locator_params(axis="x", integer=True)
    else:
        ax.set_xticks(epochs[x].unique())
    ax.grid(alpha=0.3)


def loss_figure(records: Records, axis: str = "source", x: str = "epoch") -> "Figure | None":
    """Return a figure of the losses of the confirmed runs, None without any: training solid, validation dotted.

    There is one line per level of `axis` and one panel per combination of the other axes. Lines are means over runs, with a band
    from minimum to maximum. `x` is `epoch` or `steps`.
    """
    from matplotlib.lines import Line2D

    epochs, names = _of_confirmed_runs(records, axis), Names.of(records)
    if epochs.empty:
        return None
    styles = looks(epochs["line"])
    figure, parts = panels(names.panels(axis), epochs, (x, "loss"), (4.8, 3.2))
    for ax, part in parts:
        for measure, line in LINES.items():
            draw_curves(ax, part, measure, "line", styles, x=x, **line)
    scale_losses(parts[0][0])
    kinds = [Line2D([], [], color="black", **LINES[measure], label=label) for measure, label in LOSSES.items()]
    legend_below(figure, {name: {**style, "marker": ""} for name, style in styles.items()}, kinds, columns=2)
    return figure


def metrics_figure(records: Records, measures: Mapping[str, str], axis: str = "architecture") -> "Figure | None":
    """Return a figure of several measures per epoch of the confirmed runs, None without any.

    There is one column per measure (column of `epochs`: label), one row per combination of the axes beside `axis`, and one line
    per level of `axis`. Lines are means over runs, with a band from minimum to maximum.
    """
    epochs, titles = _of_confirmed_runs(records, axis), Names.of(records).panels(axis)
    if epochs.empty:
        return None
    styles, groups = looks(epochs["line"]), list(epochs.groupby(epochs["cell"].map(titles), sort=False))
    figure, rows = grid(len(groups), len(measures), (3.0, 2.6), sharex=True, sharey="col")
    for row, (rest, part) in zip(rows, groups, strict=True):
        for ax, measure in zip(row, measures, strict=True):
            draw_curves(ax, part, measure, "line", styles)
        row[0].set_ylabel(str(rest))
    for top, bottom, label in zip(rows[0], rows[-1], measures.values(), strict=True):
        top.set_title(label, fontsize="medium")
        bottom.set_xlabel("epoch")
    legend_below(figure, styles, columns=4)
    return figure


def _of_confirmed_runs(records: Records, axis: str) -> pd.DataFrame:
    """Return the epochs of the confirmed runs with their cell and the name of their line."""
    epochs = records.epochs.merge(confirmed_runs(records)[["trial_id", "cell"]], on="trial_id")
    return epochs.assign(line=epochs["cell"].map(Names.of(records).lines(axis)))
