"""The section with test images: the truth, and the predictions of the cells that may be the best and of the reference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.data.dataset import Pixels
from segsweep.data.prepared import Prepared
from segsweep.errors import UserError
from segsweep.records.confirmed_models import models_of
from segsweep.report.overlay import background_of
from segsweep.report.page.document import Section
from segsweep.report.page.image_grid import ImageColumn, ImageGrid, ImageRow, Prediction, image_grid
from segsweep.report.page.markup import element, markup
from segsweep.report.page.shown_images import (
    ChosenImage,
    chosen_images,
    image_score,
    kept_names,
    predictions_of,
    resized,
    target_data,
)
from segsweep.report.page.study_view import StudyView
from segsweep.store.opening import open_store
from segsweep.store.protocol import Artifact

Runs = dict[str, "pd.Series[Any]"]  # the run of each cell, by the cell's name
Masks = dict[str, dict[str, Pixels]]  # by the names of cell and image
COLUMNS = 8  # cells at most
NOTE = (
    "Each column shows the confirmed run with the median test IoU of its cell. Rows: images at quantiles of IoU in the first "
    "column, and the image on which the first column and the last one differ most."
)


def images_section(view: StudyView, store: str | Path) -> Section | None:
    """Return the grid of images; None if the store no longer has predictions or the target's data."""
    runs = _runs(view)
    try:
        opened = open_store(store, create=False)
    except UserError:
        return None
    models, _ = models_of(pd.DataFrame(list(runs.values())), store) if runs else ({}, {})
    chosen = _chosen(view, runs, models)
    data = target_data(view.records, opened, [image.name for image in chosen]) if chosen else None
    if data is None:
        return None
    masks = _masks(runs, models, [image.name for image in chosen])
    rows = tuple(_row(view, image, data, masks, runs) for image in chosen)
    columns = tuple(ImageColumn(view.label(cell), view.group(cell)) for cell in runs)
    grid = ImageGrid(tuple(data.classes), background_of(data.classes), "IoU", columns, rows)
    return Section("images", "Test images", markup(element("p", element("small", NOTE)), image_grid(grid)))


def _chosen(view: StudyView, runs: Runs, models: Mapping[str, Artifact]) -> list[ChosenImage]:
    """Return the images to show, among those whose predictions the first column's model keeps; none if it is lost."""
    if not runs:
        return []
    first, last = (str(runs[cell]["trial_id"]) for cell in (next(iter(runs)), list(runs)[-1]))
    kept = kept_names(models[first]) if first in models else ()
    return chosen_images(view.records, first, last if last != first else None, kept)


def _masks(runs: Runs, models: Mapping[str, Artifact], names: Sequence[str]) -> Masks:
    """Return each cell's predictions by the image's name; none for a lost model."""
    found = {cell: models.get(str(run["trial_id"])) for cell, run in runs.items()}
    return {cell: {} if model is None else predictions_of(model, names) for cell, model in found.items()}


def _runs(view: StudyView) -> Runs:
    """Return the median run of each cell to show: the chosen one, the others that may be the best, and the reference."""
    best = sorted(view.answer.best, key=lambda cell: (cell.cell != view.answer.chosen, -cell.estimate))
    wanted = [cell for cell in (view.answer.chosen, *(cell.cell for cell in best)) if cell is not None]
    last = [view.reference] if view.reference is not None else []
    ordered = [cell for cell in dict.fromkeys(wanted) if cell not in last][: COLUMNS - len(last)] + last
    return {cell: view.median_runs[cell] for cell in ordered if cell in view.median_runs}


def _row(view: StudyView, image: ChosenImage, data: Prepared, masks: Masks, runs: Runs) -> ImageRow:
    position = list(data.names).index(image.name)
    truth = data.masks[position]
    predictions = []
    for cell, run in runs.items():
        mask = masks[cell].get(image.name)
        score = 100 * image_score(view.records, str(run["trial_id"]), image.name)
        predictions.append(None if mask is None else Prediction(resized(mask, truth), score))
    return ImageRow(image.name, image.reason, data.images[position], truth, tuple(predictions))
