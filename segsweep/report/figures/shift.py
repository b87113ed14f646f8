"""Figures of a domain shift: the IoU of every class before and after fine-tuning, and what is left of the source."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.cells import confirmed_runs
from segsweep.report.figures.looks import COLOURS, Style, legend_below, looks
from segsweep.report.figures.names import Names
from segsweep.report.figures.panels import grid, name_rows
from segsweep.report.shift import shift_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE: Style = {"color": COLOURS[1], "fillstyle": "none", "markersize": 8}
AFTER: Style = {"color": COLOURS[0], "alpha": 0.6}
PUBLISHED = "published"  # name of the row of the published numbers


def shift_figure(records: Records) -> "Figure | None":
    """Return a figure with a panel for the mean IoU and each class, and a row per cell; None if nothing was measured before.

    A line connects the means before fine-tuning (the source's model on the target's test split) and after it; points are seeds.
    Diamonds in the last row are published numbers, hollow before and filled after.
    """
    names, runs = Names.of(records).cells(), confirmed_runs(records)
    found = [str(name).removeprefix("before_") for name in shift_table(records).columns if str(name).startswith("before_iou_")]
    if not found:
        return None
    runs = runs.assign(label=runs["cell"].map(names))
    labels = list(dict.fromkeys(runs["label"]))
    published = [run for run in (records.study.get("published") or {"runs": []})["runs"] if _measures_iou(run)]
    figure, (axes,) = grid(1, len(found) + 1, (2.6, 0.42 * (len(labels) + bool(published)) + 1.8), sharey=True)
    for ax, name in zip(axes, ("mean_iou", *found), strict=True):
        _draw(ax, runs, labels, name)
        _draw_published(ax, published, f"test_{name}", len(labels))
        name_rows(ax, [*labels, *([PUBLISHED] if published else [])])
        ax.set(xlabel="IoU", xlim=(-0.05, 1.05), xticks=(0, 0.5, 1))
        ax.set_title(
            "mean of the classes" if name == "mean_iou" else name.removeprefix("iou_").replace("_", " "), fontsize="medium"
        )
    figure.set_size_inches(figure.get_figwidth() + 2, figure.get_figheight())  # for the names of the rows
    _add_key(figure, bool(published))
    return figure


def _measures_iou(run: Mapping[str, Any]) -> bool:
    return any(name.startswith(("test_iou", "test_mean_iou")) for name in run["measures"])


def _draw(ax: "Axes", runs: pd.DataFrame, labels: Sequence[str], name: str) -> None:
    before, after = f"before_{name}", f"test_{name}"
    for row, label in enumerate(labels):
        own = runs[runs["label"] == label].reindex(columns=[before, after]).astype(float)
        if own[before].notna().any():
            ax.plot([own[before].mean(), own[after].mean()], [row, row], color="grey", linewidth=2, zorder=1)
            ax.plot(own[before], [row] * len(own), "o", **BEFORE)
        ax.plot(own[after], [row] * len(own), "o", **AFTER)
        ax.plot(own[after].mean(), row, "|", color="black", markersize=14, markeredgewidth=2)


def _draw_published(ax: "Axes", published: Sequence[Mapping[str, Any]], measure: str, row: int) -> None:
    for run in published:
        ax.plot(run["measures"].get(measure, float("nan")), row, "D", **(BEFORE if run["before"] else {"color": COLOURS[0]}))


def _add_key(figure: "Figure", with_published: bool) -> None:
    marks: dict[str, Style] = {
        "before (the source's model)": {"marker": "o", **BEFORE},
        "after, a seed": {"marker": "o", **AFTER},
        "after, mean": {"marker": "|", "color": "black", "markersize": 12, "markeredgewidth": 2},
        "published, before (hollow) and after": {"marker": "D", "color": "black", "fillstyle": "none"},
    }
    shown = list(marks.items())[: None if with_published else -1]
    legend_below(figure, {name: {"linestyle": "", **mark} for name, mark in shown}, columns=4)


def forgetting_figure(records: Records) -> "Figure | None":
    """Return a figure of the mean IoU on the source's validation split before and after fine-tuning, one line per run.

    None if it was not measured.
    """
    names, runs = Names.of(records).cells(), confirmed_runs(records).dropna(subset=["forgetting"])
    if runs.empty:
        return None
    runs = runs.assign(label=runs["cell"].map(names))
    styles = looks(runs["label"])
    figure, ((ax,),) = grid(1, 1, (7.0, 4 + 0.25 * len(styles)))
    for name, own in runs.groupby("label", sort=False):
        pairs = own[["source_mean_iou_before", "source_mean_iou_after"]].astype(float)
        ax.plot([0, 1], pairs.T, **{**styles[str(name)], "alpha": 0.6})
    ax.set_xticks([0, 1], ["before fine-tuning", "after"])
    ax.set(xlim=(-0.2, 1.2), ylim=(0, None), ylabel="mean IoU on the source's validation split")
    ax.grid(axis="y", alpha=0.3)
    legend_below(figure, styles, columns=1)
    return figure
