"""Building blocks of a study's figures: distinct colours, panels, seeds as points, curves per epoch, intervals.

Every drawing function except `panels` draws into given axes, so the caller chooses the layout. Importing this module does not
import matplotlib.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from segsweep.report.cells import follows_source, varied

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# M. A. Petroff, "Accessible color sequences for data visualization", https://arxiv.org/abs/2107.02270
COLOURS = ("#3f90da", "#e76300", "#832db6", "#94a4a2", "#bd1f01", "#b9ac70", "#ffa90e", "#717581", "#a96b59", "#92dadd")
MARKERS = "osD^vP*X<>"
APART = 0.012  # distance, as a share of the axis, between lines whose points would otherwise overlap
FEW_DECADES = 1000  # largest ratio of values for which a logarithmic axis has room for labels between powers of ten
SPEAKING = ("source", "architecture")  # axes whose values are clear without the axis's name
Style = Mapping[str, Any]  # keyword arguments of `Axes.plot`


def looks(names: Iterable[object]) -> dict[str, Style]:
    """Return a colour and a marker for every name, for use in all figures."""
    return {
        str(name): {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        for number, name in enumerate(dict.fromkeys(names))
    }


def cell_labels(cells: pd.DataFrame, axes: Sequence[str]) -> "pd.Series[str]":
    """Return a distinguishing label for every cell (the index): its values on the `axes` that vary.

    `cells` has one row per cell, as `segsweep.report.cells.summarise` returns them. If no axis varies, the label is the value on
    the first one; without axes it is empty.
    """
    return _labels(cells, varied(cells, axes) or list(axes)[:1])


def model_names(cells: pd.DataFrame, axes: Sequence[str]) -> "pd.Series[str]":
    """Return a name of the initial weights for every cell (the index): its source, and the `axes` of the source that vary for it.

    Cells with the same name start from the same weights, so they can share a line in a figure.
    """
    following = [axis for axis in axes if follows_source(axis)]
    parts = [
        _labels(of_source, ["source", *varied(of_source, following)]) for _, of_source in cells.groupby("source", sort=False)
    ]
    return pd.concat(parts).reindex(cells["cell"]) if parts else pd.Series(dtype="string")


def _labels(cells: pd.DataFrame, axes: Sequence[str]) -> "pd.Series[str]":
    values = {axis: cells[axis].astype("string").fillna("none") for axis in axes}
    texts = [text if axis in SPEAKING else f"{axis.replace('_', ' ')} " + text for axis, text in values.items()]
    labels = [", ".join(row) for row in zip(*texts, strict=True)] if texts else ""
    return pd.Series(labels, index=cells["cell"], dtype="string")


def panels(
    cells: pd.DataFrame, axes: Sequence[str], rows: pd.DataFrame, labels: tuple[str, str], size: tuple[float, float] = (4.2, 3.0)
) -> tuple["Figure", list[tuple["Axes", pd.DataFrame]]]:
    """Return a figure with one panel per combination of values on the `axes` that vary, and each panel with its rows.

    `cells` has one row per cell, as `segsweep.report.cells.summarise` returns them. `rows` are runs, trials or epochs with a
    column `cell`. Panels share their axes and follow the order of `cells`; a line has as many panels as the last axis has values.
    `labels` are the names of the horizontal and the vertical axis; `size` is a panel's width and height in inches.
    """
    from matplotlib.pyplot import subplots

    cells = cells[cells["cell"].isin(rows["cell"])]
    facets = varied(cells, axes)
    titles = _labels(cells, facets)
    names = list(dict.fromkeys(titles))
    across = min(len(names), cells[facets[-1]].nunique(dropna=False)) if facets else 1
    down = -(-len(names) // across)
    figure_size = (size[0] * across + 0.6, size[1] * down + 1.2)
    figure, grid = subplots(down, across, figsize=figure_size, sharex=True, sharey=True, squeeze=False, layout="constrained")
    parts = []
    for number, (ax, name) in enumerate(zip(grid.flat, names, strict=False)):
        ax.set_title(name.replace(", ", "\n"), fontsize="medium")
        ax.set_ylabel("" if number % across else labels[1])
        if number + across >= len(names):  # no panel is below it
            ax.set_xlabel(labels[0])
            ax.tick_params(labelbottom=True)
        parts.append((ax, rows[rows["cell"].isin(titles.index[titles == name])]))
    for ax in grid.flat[len(names) :]:
        ax.set_axis_off()
    return figure, parts


def name_rows(ax: "Axes", names: Sequence[str]) -> None:
    """Label the rows 0, 1, ... of a figure, the first row at the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)


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


def draw_lines(ax: "Axes", runs: pd.DataFrame, x: str, y: str, by: str, styles: Mapping[str, Style]) -> dict[str, float]:
    """Draw `y` against `x`, one line per value of the column `by`: through the means, with a bar at each and a point per run.

    If `x` is numeric, lines are shifted slightly so that points do not overlap. Returns the shift of each line along `x`.
    """
    names = [str(name) for name in dict.fromkeys(runs[by])]
    reach = float(runs[x].max() - runs[x].min()) if pd.api.types.is_numeric_dtype(runs[x]) else 0.0
    offsets = {name: APART * reach * (number - (len(names) - 1) / 2) for number, name in enumerate(names)}
    for name, group in runs.groupby(by, sort=False):
        style, moved = styles[str(name)], group.assign(x=group[x] + offsets[str(name)] if reach else group[x])
        means = moved.groupby("x")[y].mean()
        ax.plot(means.index, means, **{**style, "marker": "_", "markersize": 14})
        ax.plot(moved["x"], moved[y], **style, linestyle="", alpha=0.6)
        ax.plot([], [], **style, label=str(name))
    ax.grid(alpha=0.3)
    return offsets


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


def scale_losses(ax: "Axes") -> None:
    """Make the vertical axis logarithmic, with plain numbers as labels, if the drawn losses span a factor of ten or more.

    The values of all axes that share the vertical axis count.
    """
    lows, highs = zip(*(each.dataLim.intervaly for each in ax.get_shared_y_axes().get_siblings(ax)), strict=True)
    if 0 < min(lows) <= max(highs) / 10:
        ax.set_yscale("log")
        _name_plainly(ax.yaxis)


def scale_rates(ax: "Axes") -> None:
    """Make the horizontal axis logarithmic, with plain numbers as labels that do not overlap."""
    ax.set_xscale("log")
    _name_plainly(ax.xaxis)


def _name_plainly(axis: "Axis") -> None:
    """Label a logarithmic axis with plain numbers: powers of ten, and numbers between them if it spans few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_data_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < FEW_DECADES * low else (1,)))
    axis.set_major_formatter("{x:.3g}")
    axis.set_minor_formatter(NullFormatter())


def draw_differences(ax: "Axes", differences: pd.DataFrame, label: str) -> None:
    """Draw one row per difference with its interval, the first row at the top.

    `differences` is the result of `paired_differences`; `label` is the column with the rows' labels.
    """
    rows, mean = range(len(differences)), differences["difference"]
    reach = [mean - differences["low"], differences["high"] - mean]
    ax.errorbar(mean, rows, xerr=reach, fmt="o", color=COLOURS[0], capsize=4)
    ax.axvline(0, color="black", linewidth=1)
    ax.locator_params(axis="x", nbins=6)
    name_rows(ax, list(differences[label]))
