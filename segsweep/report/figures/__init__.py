"""Figures of a study, drawn with matplotlib, for notebooks and papers.

A function `*_figure` returns a whole figure, or None if there is nothing to draw. A function `draw_*` draws into given axes, so
the caller chooses the layout. Importing this package does not import matplotlib.
"""

from segsweep.report.figures.confusion import confusion_figure, confusion_shares
from segsweep.report.figures.contrastive import contrastive_figure
from segsweep.report.figures.cost import cell_seconds, cost_figure, size_figure
from segsweep.report.figures.curves import draw_curves, loss_figure, metrics_figure
from segsweep.report.figures.differences import differences_figure, draw_differences, title
from segsweep.report.figures.looks import legend_below, looks
from segsweep.report.figures.names import Names
from segsweep.report.figures.panels import grid, name_rows, panels
from segsweep.report.figures.published import draw_rows, published_figure
from segsweep.report.figures.rates import rates_figure
from segsweep.report.figures.scales import scale_images, scale_losses, scale_rates
from segsweep.report.figures.scores import draw_by_images, draw_scores, images_figure, scores_by_images, scores_figure
from segsweep.report.figures.shift import forgetting_figure, shift_figure

__all__ = [
    "Names",
    "cell_seconds",
    "confusion_figure",
    "confusion_shares",
    "contrastive_figure",
    "cost_figure",
    "differences_figure",
    "draw_by_images",
    "draw_curves",
    "draw_differences",
    "draw_rows",
    "draw_scores",
    "forgetting_figure",
    "grid",
    "images_figure",
    "legend_below",
    "looks",
    "loss_figure",
    "metrics_figure",
    "name_rows",
    "panels",
    "published_figure",
    "rates_figure",
    "scale_images",
    "scale_losses",
    "scale_rates",
    "scores_by_images",
    "scores_figure",
    "shift_figure",
    "size_figure",
    "title",
]
