"""The section on cost: each cell's score against the hours that it took."""

import math
from dataclasses import replace

from segsweep.report.answer.answer import CellAnswer
from segsweep.report.page.costs import cell_costs
from segsweep.report.page.document import Section
from segsweep.report.page.dots import Dot, Dots, dots_figure, front_of
from segsweep.report.page.study_view import StudyView


def cost_section(view: StudyView) -> Section | None:
    """Return the chart; None with fewer than two confirmed cells, or without times."""
    costs = cell_costs(view.records)
    total = costs.total
    dots = [_dot(view, cell, float(total[cell.cell])) for cell in view.answer.confirmed if total.get(cell.cell, 0.0) > 0]
    if len(dots) < 2:
        return None
    front = {dot.name for dot in front_of(dots)}
    named = tuple(replace(dot, label=dot.name) if dot.name in front else dot for dot in dots)
    across = f"{costs.unit}: the cell's trials and its share of its sources"
    chart = Dots(f"{view.measure} and cost", across, f"{view.measure}, points", named, has_front=True, sources=view.group_labels)
    hollow = " Hollow: something is frozen." if any(dot.is_hollow for dot in dots) else ""
    caption = f"Bars: 95 % intervals, each cell alone. Dashed: no cell to the left reaches more.{hollow}"
    return Section("cost", f"{view.measure} and cost", dots_figure(chart, caption))


def _dot(view: StudyView, cell: CellAnswer, time: float) -> Dot:
    low, high = cell.interval if math.isfinite(cell.half) else (math.nan, math.nan)
    freeze = str(view.table.loc[cell.cell, "freeze"]) if "freeze" in view.table else "none"
    hollow = freeze not in ("none", "<NA>", "nan", "None")
    return Dot(
        cell.label, time, 100 * cell.estimate, y_interval=(100 * low, 100 * high), source=view.group(cell.cell), is_hollow=hollow
    )
