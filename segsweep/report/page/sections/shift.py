"""The section on the measures and predictions before and after fine-tuning."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segsweep.records.confirmed_models import models_of
from segsweep.report.layout import heading, number
from segsweep.report.overlay import background_of
from segsweep.report.page.document import Section
from segsweep.report.page.figure import Numbers, paragraphs, scrolled_table
from segsweep.report.page.image_grid import ImageColumn, ImageGrid, ImageRow, Prediction, image_grid
from segsweep.report.page.markup import Markup, element, markup
from segsweep.report.page.shown_images import resized
from segsweep.report.page.study_view import StudyView
from segsweep.report.sections import SHIFT
from segsweep.report.shift import shift_table
from segsweep.store.contents import BEFORE, IMAGE, PREDICTED, TRUTH, example_files

MEASURED = ("before_", "test_", "source_mean", "forgetting")


def shift_section(view: StudyView, store: str | Path | None) -> Section | None:
    """Return the measures before and after fine-tuning, and images of the best cell; None for a study without `domain_shift`."""
    rows = shift_table(view.records)
    if rows.empty:
        return None
    names = [str(name) for name in rows.columns if str(name).startswith(MEASURED)]
    after = [name.startswith("test_") or name == "source_mean_iou_after" for name in names]
    heads = ["after" if late else heading(name) for name, late in zip(names, after, strict=True)]
    shown = [(view.label(str(row["cell"])), *(number(row[name]) for name in names)) for _, row in rows.iterrows()]
    table = scrolled_table(Numbers(("", *heads), tuple(shown)))
    images = _images(view, store) if store is not None else None
    return Section("shift", "Before and after fine-tuning", markup(table, paragraphs([SHIFT]), images))


def _images(view: StudyView, store: str | Path) -> Markup | None:
    """Return the example images of the best cell with a prediction before fine-tuning, from its run with the median test IoU."""
    for cell in view.ranked:
        run = view.median_runs.get(cell.cell)
        models = models_of(run.to_frame().T, store)[0] if run is not None else {}
        for model in models.values():
            classes = [str(name) for name in model.metadata.get("classes", ())]
            if classes and example_files(model.folder, BEFORE):
                return markup(element("h3", cell.label), image_grid(before_after(model.folder, classes)))
    return None


def before_after(folder: Path, classes: Sequence[str]) -> ImageGrid:
    """Return the example images in a model's folder, with the predictions before and after fine-tuning."""
    files = zip(*(example_files(folder, what) for what in (IMAGE, TRUTH, BEFORE, PREDICTED)), strict=True)
    rows = []
    for place, paths in enumerate(files, start=1):
        image, truth, *predicted = (np.asarray(Image.open(path)) for path in paths)
        predictions = tuple(Prediction(resized(mask, truth)) for mask in predicted)
        rows.append(ImageRow("", f"test image {place}", image, truth, predictions))
    columns = (ImageColumn("before fine-tuning"), ImageColumn("after fine-tuning"))
    return ImageGrid(tuple(classes), background_of(classes), "IoU", columns, tuple(rows), "before")
