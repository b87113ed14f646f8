"""A sheet of predictions: test images, their masks, and the predictions of one confirmed run of every cell."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segsweep.data.dataset import Pixels
from segsweep.records.confirmed_models import models_of
from segsweep.records.study_records import Records
from segsweep.report.cells import compared_axes, median_runs
from segsweep.report.overlay import coloured
from segsweep.store.contents import BEFORE, IMAGE, PREDICTED, TRUTH, example_file, example_files

TILE_PX = 128
GAP_PX = 6
HEADER_PX = 52
COLUMNS_SHOWN = 24
OF_THE_SOURCE = ("source", "architecture")  # axes that identify a source model


def prediction_sheet(records: Records, store: str | Path) -> Image.Image | None:
    """Return an image with one row per test image; its columns are the image, its mask, and one prediction per cell.

    The prediction is that of the cell's confirmed run with the median test IoU. With `domain_shift`, the predictions of a
    source's own model precede the first cell of that source. Cells whose models are lost are omitted. Returns None if no cell is
    left.
    """
    runs = median_runs(records)
    axes = [axis for axis in compared_axes(records) if runs[axis].nunique() > 1]
    columns: list[tuple[list[str], list[Image.Image]]] = []
    tested: set[str] = set()  # content hashes of source models
    models, _ = models_of(runs, store)
    for _, trial in runs.iterrows():
        model = models.get(str(trial["trial_id"]))
        if model is None or not (model.folder / example_file(0, PREDICTED)).is_file():
            continue
        folder = model.folder
        if not columns:
            columns = [(["image"], _tiles(folder, IMAGE)), (["truth"], _tiles(folder, TRUTH))]
        if (folder / example_file(0, BEFORE)).is_file() and trial["source_hash"] not in tested:
            tested.add(trial["source_hash"])
            whose = [str(trial[axis]) for axis in axes if axis in OF_THE_SOURCE]
            columns.append(([*whose, "before", f"IoU {trial['before_iou']:.3f}"], _tiles(folder, BEFORE)))
        heading = [str(trial[axis]) for axis in axes] + [f"IoU {trial['test_iou']:.3f}"]
        columns.append((heading, _tiles(folder, PREDICTED)))
    return _sheet(columns[: COLUMNS_SHOWN + 2]) if columns else None


def _tiles(folder: Path, what: str) -> list[Image.Image]:
    return [_tile(np.asarray(Image.open(path)), what) for path in example_files(folder, what)]


def _tile(pixels: Pixels, what: str) -> Image.Image:
    image = Image.fromarray(pixels if what == IMAGE else coloured(pixels))
    return image.resize((TILE_PX, TILE_PX), Image.Resampling.BILINEAR if what == IMAGE else Image.Resampling.NEAREST)


def _sheet(columns: list[tuple[list[str], list[Image.Image]]]) -> Image.Image:
    rows = max(len(tiles) for _, tiles in columns)
    step = TILE_PX + GAP_PX
    sheet = Image.new("RGB", (len(columns) * step + GAP_PX, HEADER_PX + rows * step), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for column, (heading, tiles) in enumerate(columns):
        left = GAP_PX + column * step
        for line, text in enumerate(heading[-4:]):
            draw.text((left, 2 + 12 * line), _shortened(text, draw, font), fill="black", font=font)
        for row, tile in enumerate(tiles):
            sheet.paste(tile, (left, HEADER_PX + row * step))
    return sheet


def _shortened(text: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return a text that fits a column. If it is too long, its beginning is dropped, because sources differ at their end."""
    kept = text
    while draw.textlength(kept, font=font) > TILE_PX and len(text) > 1:
        text = text[1:]
        kept = f"…{text}"
    return kept
