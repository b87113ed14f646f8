"""Panels of a figure: a grid of axes for groups of cells, and rows with names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = (0.6, 1.0)  # inches, for the labels at the left and the legend below
PLOT, LETTER = 7.0, 0.08  # inches: a plot of rows with its numbers, and a letter of a name


def grid(down: int, across: int, size: tuple[float, float], **shared: object) -> tuple["Figure", list[list["Axes"]]]:
    """Return a figure with rows of axes; `size` is the width and height of one in inches, `shared` is for `Figure.subplots`.

    The figure does not belong to pyplot: a notebook shows it as the value of a cell, and nothing has to be closed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * across + MARGIN[0], size[1] * down + MARGIN[1]), layout="constrained")
    return figure, figure.subplots(down, across, squeeze=False, **shared).tolist()  # type: ignore[call-overload]


def panels(
    titles: Mapping[str, str], rows: pd.DataFrame, labels: tuple[str, str], size: tuple[float, float] = (4.2, 2.8)
) -> tuple["Figure", list[tuple["Axes", pd.DataFrame]]]:
    """Return a figure with one panel per title that has rows, and each panel with its rows.

    `titles` has the panel's title for each cell; see `Names.panels`. `rows` are runs, trials or epochs with a column `cell`.
    Panels share their axes and follow the order of `titles`; a line of panels has as many as the last line of the titles has
    values. `labels` are the names of the horizontal and the vertical axis; `size` is a panel's width and height in inches.
    """
    of_rows = rows["cell"].map(titles)
    names = [name for name in dict.fromkeys(titles.values()) if (of_rows == name).any()]
    across = len({name.rpartition("\n")[2] for name in names})
    figure, lines = grid(-(-len(names) // across), across, size, sharex=True, sharey=True)
    axes = [ax for line in lines for ax in line]
    for number, (ax, name) in enumerate(zip(axes, names, strict=False)):
        ax.set_title(name, fontsize="medium")
        ax.set_ylabel("" if number % across else labels[1])
        ax.grid(alpha=0.3)
        if number + across >= len(names):  # no panel is below it
            ax.set_xlabel(labels[0])
            ax.tick_params(labelbottom=True)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    return figure, [(ax, rows[of_rows == name]) for ax, name in zip(axes, names, strict=False)]


def width_of_rows(names: Iterable[str]) -> float:
    """Return the width in inches of a figure whose rows have these names, with numbers at their right."""
    return PLOT + LETTER * max(map(len, names))


def name_rows(ax: "Axes", names: Sequence[str]) -> None:
    """Label the rows 0, 1, ... of a figure, the first row at the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)
