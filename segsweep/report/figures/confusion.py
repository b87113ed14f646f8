"""Figure of the classes that are confused: the confusion matrices of the chosen cell and of its reference."""

from typing import TYPE_CHECKING

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer
from segsweep.report.cells import confirmed_runs
from segsweep.report.figures.names import Names
from segsweep.report.figures.panels import grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def confusion_shares(records: Records, cell: str) -> pd.DataFrame:
    """Return the share of each true class's pixels (rows) that was predicted as each class, over a cell's confirmed runs."""
    runs = confirmed_runs(records)
    own = records.confusions[records.confusions["trial_id"].isin(runs.loc[runs["cell"] == cell, "trial_id"])]
    pixels = own.pivot_table(index="truth", columns="predicted", values="pixels", aggfunc="sum", fill_value=0).astype(float)
    classes = list(dict.fromkeys([*pixels.index, *pixels.columns]))
    return pixels.div(pixels.sum(axis=1), axis=0).reindex(index=classes, columns=classes, fill_value=0.0)


def confusion_figure(records: Records, answer: Answer) -> "Figure | None":
    """Return a figure of the confusion matrices of two cells; None without confirmed runs or confusion matrices.

    The cells are the one that validation chooses, and its reference: the cell of the reference source, equal in all else.
    """
    matrices = {cell: shares for cell in _cells(records, answer) if len(shares := confusion_shares(records, cell))}
    if not matrices:
        return None
    side = max(3.4, 0.45 * max(map(len, matrices.values())) + 1.6)
    figure, (axes,) = grid(1, len(matrices), (side + 0.8, side + 0.4))
    for ax, (cell, shares) in zip(axes, matrices.items(), strict=True):
        _draw(ax, shares)
        ax.set_title(answer.cell(cell).label.replace(", ", "\n"), fontsize="medium")
    figure.colorbar(axes[0].images[0], ax=axes, label="share of the true class's pixels")
    return figure


def _cells(records: Records, answer: Answer) -> list[str]:
    if answer.chosen is None:
        return []
    design = Names.of(records).design
    pairs = [pair for of_level in design.pairs("source").values() for pair in of_level] if "source" in design.axes else []
    return [answer.chosen, *(reference for cell, reference in pairs if cell == answer.chosen)]


def _draw(ax: "Axes", shares: pd.DataFrame) -> None:
    ax.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    ax.set_xticks(range(len(shares)), shares.columns, rotation=45, ha="right")
    ax.set_yticks(range(len(shares)), shares.index)
    ax.set(xlabel="predicted", ylabel="truth")
    for (row, column), share in zip(
        ((row, column) for row in range(len(shares)) for column in range(len(shares))), shares.to_numpy().flat, strict=True
    ):
        ax.text(column, row, f"{share:.2f}", ha="center", va="center", color="black" if share > 0.5 else "white", fontsize=9)
