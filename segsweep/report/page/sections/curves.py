"""The section with the losses of confirmed runs per epoch."""

import pandas as pd

from segsweep.report.page.curves import CellCurves, Curve, curves_figure
from segsweep.report.page.document import Section
from segsweep.report.page.study_view import StudyView

CAPTION = "Solid: training loss; dotted: validation loss. Lines: means over confirmed runs; bands: lowest to highest run."


def curves_section(view: StudyView) -> Section | None:
    """Return a panel per cell with confirmed runs; None without finite losses."""
    epochs = view.records.epochs.merge(view.runs[["trial_id", "cell"]], on="trial_id")
    cells = []
    for cell, rows in epochs.groupby("cell", sort=False):
        curves = [_curve(rows, loss) for loss in ("train_loss", "val_loss")]
        if any(curve.epochs for curve in curves):
            cells.append((str(cell), CellCurves(view.label(str(cell)), view.group(str(cell)), *curves)))
    order = {cell.cell: place for place, cell in enumerate(view.answer.cells)}
    cells.sort(key=lambda pair: order[pair[0]])
    return Section("curves", "Training", curves_figure([curves for _, curves in cells], CAPTION)) if cells else None


def _curve(rows: pd.DataFrame, loss: str) -> Curve:
    values = rows.dropna(subset=[loss]).groupby("epoch")[loss].agg(["mean", "min", "max"])
    epochs = tuple(int(str(epoch)) for epoch in values.index)
    return Curve(epochs, *(tuple(values[name].astype(float).tolist()) for name in ("mean", "min", "max")))
