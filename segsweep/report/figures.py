"""What figures of a study have in common: colours that tell apart, seeds as points, curves per epoch, intervals.

Each function draws into the axes that it is given, so that whoever calls chooses the layout; matplotlib is needed only by them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# M. A. Petroff, "Accessible color sequences for data visualization", https://arxiv.org/abs/2107.02270
COLOURS = ("#3f90da", "#e76300", "#832db6", "#94a4a2", "#bd1f01", "#b9ac70", "#ffa90e", "#717581", "#a96b59", "#92dadd")
MARKERS = "osD^vP*X<>"
APART = 0.012  # of the axis, between lines whose points would else lie on one another
SPEAKING = ("source", "architecture")  # axes whose values need no name beside them
Look = Mapping[str, Any]  # keyword arguments of `Axes.plot`


def looks(names: Iterable[object]) -> dict[str, Look]:
    """Return for every name a colour and a marker, to be used in all figures alike."""
    return {
        str(name): {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        for number, name in enumerate(dict.fromkeys(names))
    }


def cell_labels(cells: pd.DataFrame, axes: Sequence[str]) -> "pd.Series[str]":
    """Return a text for every cell (the index) that tells it from the others: its values on those of `axes` that vary.

    `cells` has a row per cell, as `segsweep.report.cells.summarise` returns them.
    """
    varied = [axis for axis in axes if cells[axis].nunique() > 1] or list(axes)[:1]
    values = {axis: cells[axis].astype("string").fillna("-") for axis in varied}
    told = [text if axis in SPEAKING else f"{axis.replace('_', ' ')} " + text for axis, text in values.items()]
    return pd.Series([", ".join(texts) for texts in zip(*told, strict=True)], index=cells["cell"], dtype="string")


def name_rows(ax: "Axes", names: Sequence[str]) -> None:
    """Name the rows 0, 1, ... of a figure, the first on top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)


def draw_rows(ax: "Axes", runs: pd.DataFrame, label: str, measure: str, published: Mapping[str, float] | None = None) -> None:
    """Draw one row per value of the column `label`: a point per run, a bar at their mean, a diamond at the published number.

    Rows stand in the order of `runs`, the first on top.
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


def draw_lines(ax: "Axes", runs: pd.DataFrame, x: str, y: str, by: str, styles: Mapping[str, Look]) -> dict[str, float]:
    """Draw `y` against `x`, one line per value of the column `by`: through the means, with a bar at each and a point per run.

    Where `x` is a number, lines stand a little aside of one another, so that points do not hide. Returns how far each does.
    """
    names = [str(name) for name in dict.fromkeys(runs[by])]
    reach = float(runs[x].max() - runs[x].min()) if pd.api.types.is_numeric_dtype(runs[x]) else 0.0
    aside = {name: APART * reach * (number - (len(names) - 1) / 2) for number, name in enumerate(names)}
    for name, own in runs.groupby(by, sort=False):
        look, moved = styles[str(name)], own.assign(x=own[x] + aside[str(name)] if reach else own[x])
        means = moved.groupby("x")[y].mean()
        ax.plot(means.index, means, **{**look, "marker": "_", "markersize": 14})
        ax.plot(moved["x"], moved[y], **look, linestyle="", alpha=0.6)
        ax.plot([], [], **look, label=str(name))
    ax.grid(alpha=0.3)
    return aside


def draw_curves(
    ax: "Axes", epochs: pd.DataFrame, measure: str, by: str, styles: Mapping[str, Look], x: str = "epoch", **line: Any
) -> None:
    """Draw a measure per epoch, one line per value of the column `by`: the mean over runs, and a band from the least to the most.

    `x` may be `steps` instead; `line` holds further keyword arguments of `Axes.plot`.
    """
    for name, own in epochs.dropna(subset=[measure]).groupby(by, sort=False):
        spread = own.groupby(x)[measure].agg(["mean", "min", "max"])
        look = {**styles[str(name)], "markersize": 4, **line}
        ax.plot(spread.index, spread["mean"], **look, label=str(name))
        ax.fill_between(spread.index, spread["min"], spread["max"], color=look["color"], alpha=0.15, linewidth=0)
    if epochs[x].nunique() > 1:
        ax.locator_params(axis="x", integer=True)
    else:
        ax.set_xticks(epochs[x].unique())
    ax.grid(alpha=0.3)


def scale_losses(ax: "Axes") -> None:
    """Scale the vertical axis of what is drawn by logarithm, labelled with plain numbers, where losses differ tenfold or more.

    Axes that share it count with it.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    lows, highs = zip(*(each.dataLim.intervaly for each in ax.get_shared_y_axes().get_siblings(ax)), strict=True)
    if 0 < min(lows) <= max(highs) / 10:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:.3g}")
        ax.yaxis.set_minor_formatter(NullFormatter())


def draw_differences(ax: "Axes", differences: pd.DataFrame, label: str) -> None:
    """Draw a row per difference with its interval, as `paired_differences` returns them, the first on top.

    `label` is the column that names the rows.
    """
    rows, mean = range(len(differences)), differences["difference"]
    reach = [mean - differences["low"], differences["high"] - mean]
    ax.errorbar(mean, rows, xerr=reach, fmt="o", color=COLOURS[0], capsize=4)
    ax.axvline(0, color="black", linewidth=1)
    ax.locator_params(axis="x", nbins=6)
    name_rows(ax, list(differences[label]))
