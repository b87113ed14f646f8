"""The section with the confusion of classes: of the chosen cell, and of the one that it is compared with."""

import numpy as np

from segsweep.report.page.confusion import confusion_table
from segsweep.report.page.document import Section
from segsweep.report.page.markup import Markup, element, markup
from segsweep.report.page.study_view import StudyView

NOTE = "Per cent of the pixels of each true class (rows) that all confirmed runs of the cell predict as each class (columns)."


def confusion_section(view: StudyView) -> Section | None:
    """Return the matrices; None if the records have none."""
    cells = [cell for cell in dict.fromkeys([view.answer.chosen, view.reference]) if cell is not None]
    found = [table for cell in cells if (table := _table(view, cell)) is not None]
    if not found:
        return None
    return Section(
        "confusion",
        "Confusion of classes",
        markup(element("div", found, class_="matrices"), element("p", element("small", NOTE))),
    )


def _table(view: StudyView, cell: str) -> Markup | None:
    runs = view.runs.loc[view.runs["cell"] == cell, "trial_id"]
    rows = view.records.confusions[view.records.confusions["trial_id"].isin(runs)]
    if rows.empty:
        return None
    every = view.records.confusions
    classes = list(dict.fromkeys([*every["truth"], *every["predicted"]]))
    place = {name: number for number, name in enumerate(classes)}
    pixels_CC = np.zeros((len(classes), len(classes)))
    at = (rows["truth"].map(place).to_numpy(), rows["predicted"].map(place).to_numpy())
    np.add.at(pixels_CC, at, rows["pixels"].to_numpy())
    return confusion_table(view.label(cell), classes, pixels_CC)
