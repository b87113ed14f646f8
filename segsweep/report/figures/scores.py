"""Figures of the scores of an answer: per cell, and against the number of target images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer
from segsweep.report.answer.limits import chance_text
from segsweep.report.answer.words import measure_text, score_text
from segsweep.report.cells import confirmed_runs
from segsweep.report.figures.looks import COLOURS, Style, legend_below, looks
from segsweep.report.figures.names import Names
from segsweep.report.figures.panels import name_rows, panels, width_of_rows
from segsweep.report.figures.scales import scale_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, FRAME = 0.38, 1.4  # inches: height of a row, and of what surrounds the rows
APART = 0.05  # shift of a line beside the previous one, as a share of the number of images


def scores_figure(answer: Answer) -> "Figure | None":
    """Return a figure with the score of every cell, None without finished confirmed runs; see `draw_scores` for the marks."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not answer.confirmed:
        return None
    width = width_of_rows(cell.label for cell in answer.confirmed)
    figure = Figure(figsize=(width, ROW * len(answer.confirmed) + FRAME), layout="constrained")
    ax = figure.subplots()
    draw_scores(ax, answer)
    ax.set_xlabel(f"test {measure_text(answer)}, points (* chosen by validation)")
    covers = chance_text(answer) if answer.covers_seeds else "test images, these trained models only"
    line = Line2D([], [], color=COLOURS[0], linewidth=2, label=f"95 % interval over {covers}")
    filled = Line2D([], [], color=COLOURS[0], marker="o", linestyle="", label="filled: may be the best cell")
    unit = Line2D([], [], color="black", marker="|", linestyle="", label="a source model" if answer.models else "a seed")
    legend_below(figure, {}, [line, *([filled] if answer.decides else []), unit])
    return figure


def draw_scores(ax: "Axes", answer: Answer) -> None:
    """Draw one row per confirmed cell, in points of the measure, the first row at the top.

    The line is the 95 % interval, a tick the score of one unit (a seed, or a source model). The point is filled if the cell may
    be the best; if the seeds do not decide that, all points are hollow. A star marks the cell that validation chooses.
    """
    cells = answer.confirmed
    for row, cell in enumerate(cells):
        best = answer.decides and cell.beaten_by is None
        middle, low, high = (100 * value for value in (cell.estimate, *cell.interval))
        ax.hlines(row, low, high, color=COLOURS[0], linewidth=2, zorder=2)
        ax.plot(middle, row, "o", color=COLOURS[0], markerfacecolor=COLOURS[0] if best else "white", markersize=7, zorder=3)
        of_units = [100 * score for score in cell.per_unit]
        ax.plot(of_units, [row + 0.3] * len(of_units), "|", color="black", markersize=6)
        ax.text(1.01, row, score_text(cell), transform=ax.get_yaxis_transform(), va="center", fontsize="small")
    name_rows(ax, [cell.label + (" *" if cell.cell == answer.chosen else "") for cell in cells])


def images_figure(records: Records, answer: Answer) -> "Figure | None":
    """Return a figure of the score against the number of target images for training; None if the cells have one number.

    There is one line per source and one panel per combination of the other axes; see `draw_by_images` for the marks.
    """
    cells, names = scores_by_images(records, answer), Names.of(records)
    if cells["images"].nunique() < 2:
        return None
    styles = looks(cells["line"])
    labels = ("target images for training", f"test {measure_text(answer)}, points")
    figure, parts = panels(names.panels("source", "fraction", "dev_share"), cells, labels)
    for ax, part in parts:
        draw_by_images(ax, part, styles)
    legend_below(figure, styles, columns=2)
    return figure


def scores_by_images(records: Records, answer: Answer) -> pd.DataFrame:
    """Return one row per confirmed cell: `cell`, `line` (its source), `images` (for training), `estimate` and `half`.

    The score and the half-width of its interval are shares of the measure.
    """
    images, lines = confirmed_runs(records).groupby("cell")["train_images"].mean(), Names.of(records).lines()
    rows = [
        (cell.cell, lines[cell.cell], float(images[cell.cell]), cell.estimate, cell.half)
        for cell in answer.confirmed
        if cell.cell in images.index
    ]
    return pd.DataFrame(rows, columns=["cell", "line", "images", "estimate", "half"])


def draw_by_images(ax: "Axes", cells: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    """Draw the score against the number of images, in points, one line per source; bars are 95 % intervals.

    `cells` are rows of `scores_by_images`. Lines are shifted a little, so that bars do not overlap. The axis is logarithmic: each
    doubling of the number of images has the same width.
    """
    middle = (len(styles) - 1) / 2
    for number, (name, style) in enumerate(styles.items()):
        own = cells[cells["line"] == name].sort_values("images")
        x = own["images"] * (1 + APART) ** (number - middle)
        ax.errorbar(x, 100 * own["estimate"], yerr=100 * own["half"], capsize=3, linewidth=1.5, **style)
    scale_images(ax, cells["images"])
