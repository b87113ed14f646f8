"""Figures of the scores of an answer: per cell, and against the number of target images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer
from segsweep.report.answer.sentences import measure_text, score_text
from segsweep.report.cells import confirmed_runs
from segsweep.report.figures.looks import COLOURS, Style, legend_below, looks
from segsweep.report.figures.names import Names
from segsweep.report.figures.panels import name_rows, panels
from segsweep.report.figures.scales import scale_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, FRAME = 0.38, 1.4  # inches: height of a row, and of what surrounds the rows
APART = 0.03  # shift of a line beside the previous one, as a share of the number of images


def scores_figure(answer: Answer, width: float = 9.0) -> "Figure | None":
    """Return a figure with the score of every cell, None without finished confirmed runs; `width` is in inches."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not answer.confirmed:
        return None
    figure = Figure(figsize=(width, ROW * len(answer.confirmed) + FRAME), layout="constrained")
    ax = figure.subplots()
    draw_scores(ax, answer)
    ax.set_xlabel(f"test {measure_text(answer)}, points")
    covers = "seeds and test images" if answer.covers_seeds else "test images, these trained models only"
    line = Line2D([], [], color=COLOURS[0], linewidth=2, label=f"95 % interval over {covers}")
    filled = Line2D([], [], color=COLOURS[0], marker="o", linestyle="", label="filled: may be the best cell")
    unit = Line2D([], [], color="black", marker="|", linestyle="", label="a source model" if answer.models else "a seed")
    legend_below(figure, {}, [line, *([filled] if answer.decides else []), unit])
    return figure


def draw_scores(ax: "Axes", answer: Answer) -> None:
    """Draw one row per confirmed cell, in points of the measure, the first row at the top.

    The line is the 95 % interval, a tick the score of one unit (a seed, or a source model). The point is filled if the cell may
    be the best; if the seeds do not decide that, all points are hollow. The cell that validation chooses is named so.
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
    name_rows(ax, [cell.label + (" (chosen by validation)" if cell.cell == answer.chosen else "") for cell in cells])


def images_figure(records: Records, answer: Answer) -> "Figure | None":
    """Return a figure of the score against the number of target images for training, one line per source.

    None if the confirmed cells have one number of images. There is one panel per combination of the other axes. Bars are 95 %
    intervals.
    """
    images = confirmed_runs(records).groupby("cell")["train_images"].mean().to_dict()
    cells = pd.DataFrame([vars(cell) for cell in answer.confirmed if cell.cell in images])
    if cells.empty or len(set(images.values())) < 2:
        return None
    names = Names.of(records)
    lines = names.lines()
    cells = cells.assign(images=cells["cell"].map(images), line=cells["cell"].map(lines))
    styles = looks(cells["line"])
    labels = ("target images for training", f"test {measure_text(answer)}, points")
    figure, parts = panels(names.panels("source", "fraction", "dev_share"), cells, labels)
    for ax, part in parts:
        _draw_lines(ax, part, styles)
        scale_images(ax, images.values())
    legend_below(figure, styles, columns=2)
    return figure


def _draw_lines(ax: "Axes", cells: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    """Draw a line with intervals per value of `line`; lines are shifted a little, so that intervals do not overlap."""
    middle = (len(styles) - 1) / 2
    for number, (name, style) in enumerate(styles.items()):
        own = cells[cells["line"] == name].sort_values("images")
        x = own["images"] * (1 + APART) ** (number - middle)
        ax.errorbar(x, 100 * own["estimate"], yerr=100 * own["half"], capsize=3, linewidth=1.5, **style)
