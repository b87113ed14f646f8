"""The sheet of predictions."""

from pathlib import Path

import numpy as np
from PIL import Image

from segsweep.records import load
from segsweep.report.overlay import coloured
from segsweep.report.prediction_sheet import GAP_PX, HEADER_PX, TILE_PX, prediction_sheet


def test_there_is_a_column_for_every_cell(finished: Path) -> None:
    """The sheet has the image, the truth, and one prediction for each of the four cells, and six rows."""
    sheet = prediction_sheet(load(finished / "runs" / "tiny"), finished / "store")
    assert sheet is not None
    step = TILE_PX + GAP_PX
    assert sheet.size == (6 * step + GAP_PX, HEADER_PX + 6 * step)


def test_the_truth_is_the_mask(finished: Path) -> None:
    """The second column shows the masks of the test images: black background and one colour."""
    sheet = prediction_sheet(load(finished / "runs" / "tiny"), finished / "store")
    assert sheet is not None
    left = GAP_PX + TILE_PX + GAP_PX
    tile = np.asarray(sheet.crop((left, HEADER_PX, left + TILE_PX, HEADER_PX + TILE_PX)))
    colours = {tuple(colour) for colour in tile.reshape(-1, 3)}
    assert colours == {(0, 0, 0), tuple(coloured(np.array([[1]], dtype=np.uint8))[0, 0])}


def test_the_source_model_has_one_column(copy_of_finished: Path) -> None:
    """The predictions of a source's own model precede the first of its two cells, once."""
    records = load(copy_of_finished / "runs" / "tiny")
    trials = records.trials[(records.trials["phase"] == "confirm") & (records.trials["source"] != "random")]
    for key in trials["model_key"]:
        folder = copy_of_finished / "store" / "model" / key
        for number in range(6):
            mask = Image.open(folder / f"example-{number}-predicted.png")
            Image.fromarray(np.full_like(np.asarray(mask), 1)).save(folder / f"example-{number}-before.png")
    sheet = prediction_sheet(records, copy_of_finished / "store")
    assert sheet is not None
    step = TILE_PX + GAP_PX
    assert sheet.width == 7 * step + GAP_PX
    left = GAP_PX + 4 * step  # after the image, the truth, and the two cells of random weights
    tile = np.asarray(sheet.crop((left, HEADER_PX, left + TILE_PX, HEADER_PX + TILE_PX)))
    assert (tile == coloured(np.array([[1]], dtype=np.uint8))[0, 0]).all()


def test_a_store_without_models_has_no_sheet(finished: Path, tmp_path: Path) -> None:
    """If the models were removed, there is no sheet and no error."""
    assert prediction_sheet(load(finished / "runs" / "tiny"), tmp_path) is None
