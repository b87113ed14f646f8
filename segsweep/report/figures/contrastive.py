"""Figure of self-supervised stages: their loss and their held-out accuracy per epoch."""

from typing import TYPE_CHECKING

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.figures.curves import draw_curves
from segsweep.report.figures.looks import legend_below, looks
from segsweep.report.figures.panels import grid
from segsweep.report.sources import stage_names, trained_sources

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def contrastive_figure(records: Records) -> "Figure | None":
    """Return a figure with one line per self-supervised stage with different settings; None if no epoch of one is on record.

    Panels: the training loss, and the share of held-out views that are matched with the other view of their image; dashed lines
    are the chance levels of stages that have ended.
    """
    names, epochs = stage_names(records), records.epochs[records.epochs["phase"] == "stage"]
    stages = epochs.assign(line=epochs["trial_id"].map(names)).dropna(subset=["line", "contrastive_accuracy"])
    if stages.empty:
        return None
    styles = looks(stages["line"])
    figure, ((left, right),) = grid(1, 2, (4.8, 3.2 + 0.25 * len(styles)))
    draw_curves(left, stages, "train_loss", "line", styles)
    draw_curves(right, stages, "contrastive_accuracy", "line", styles)
    for chance in trained_sources(records).get("contrastive_chance", pd.Series(dtype=float)).dropna().unique():
        right.axhline(chance, color="black", linestyle="--", linewidth=1)
    left.set(xlabel="epoch", ylabel="training loss")
    right.set(xlabel="epoch", ylabel="held-out views matched (dashed: chance)")
    legend_below(figure, styles, columns=1)
    return figure
