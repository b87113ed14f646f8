"""Figure of the tuning trials: the validation IoU against the learning rate, with the chosen rate of each cell."""

from typing import TYPE_CHECKING

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.figures.looks import Style, legend_below, looks
from segsweep.report.figures.names import Names
from segsweep.report.figures.panels import panels
from segsweep.report.figures.scales import scale_rates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def rates_figure(records: Records) -> "Figure | None":
    """Return a figure of the ended tuning trials at the epoch that each one kept; None without any.

    There is one line per source and one panel per combination of the other axes. Points are filled if the trial ran to its end,
    hollow if it was stopped early; a black ring marks the setting that the confirmed runs have.
    """
    from matplotlib.lines import Line2D

    trials, names = records.trials, Names.of(records)
    tuning = trials[(trials["phase"] == "tune") & trials["val_iou"].notna()]
    if tuning.empty or tuning["learning_rate"].isna().all():
        return None
    tuning = tuning.assign(line=tuning["cell"].map(names.lines()))
    styles = looks(tuning["line"])
    figure, parts = panels(names.panels("source"), tuning, ("learning rate", "validation IoU (kept epoch)"))
    for ax, part in parts:
        for name, style in styles.items():
            _draw_trials(ax, part[part["line"] == name].sort_values("learning_rate"), style)
    scale_rates(parts[0][0])
    marks: dict[str, Style] = {
        "stopped early": {"marker": "o", "color": "grey", "fillstyle": "none"},
        "chosen": {"marker": "o", "color": "black", "fillstyle": "none", "markersize": 12},
    }
    legend_below(figure, styles, [Line2D([], [], linestyle="", **mark, label=name) for name, mark in marks.items()], columns=2)
    return figure


def _draw_trials(ax: "Axes", trials: pd.DataFrame, style: Style) -> None:
    """Draw the trials of one line, in ascending order of their rates."""
    ax.plot(trials["learning_rate"], trials["val_iou"], color=style["color"], linewidth=1)
    for finished, points in trials.groupby(trials["status"] == "finished"):
        fill = "full" if finished else "none"
        ax.plot(points["learning_rate"], points["val_iou"], **style, linestyle="", fillstyle=fill)
    chosen = trials[trials["chosen"]]
    ax.plot(chosen["learning_rate"], chosen["val_iou"], "o", color="black", fillstyle="none", markersize=12)
