"""Charts, tables and images of invented numbers, for tests of the page."""

import math

import numpy as np

from segsweep.report.page.cell_table import CellRow, CellTable, Column, Entry
from segsweep.report.page.curves import CellCurves, Curve
from segsweep.report.page.dots import Dot, Dots
from segsweep.report.page.embedded_images import Pixels
from segsweep.report.page.forest import Forest, ForestRow
from segsweep.report.page.image_grid import ImageColumn, ImageGrid, ImageRow, Prediction
from segsweep.report.page.lines import Line, Lines, Point
from segsweep.report.page.rates import TunedCell, TunedTrial, Tuning
from segsweep.report.page.score_bar import Score
from segsweep.report.page.shares import Share, Shares

HOSTILE = "<script>alert(1)</script>"
SOURCES = ("random weights", "imagenet", "coco", HOSTILE)


def forest(rows: int = 3) -> Forest:
    """Return differences from -4 points upwards, each with an interval of +- 1 alone and 1.5 together."""
    values = [-4 + 8 * number / max(1, rows - 1) for number in range(rows)]
    return Forest("Gain over random weights", "points of IoU", tuple(map(forest_row, range(rows), values)), matters=1.0)


def forest_row(number: int, value: float) -> ForestRow:
    """Return a row with three seeds."""
    seeds = (value - 0.5, value, value + 0.5)
    return ForestRow(f"coco, frozen, {number} %", value, (value - 1, value + 1), (value - 1.5, value + 1.5), seeds, 2)


def lines() -> Lines:
    """Return a line of three points per source."""
    points = [(60, 40.0), (120, 50.0), (240, 55.0)]
    return Lines(
        "IoU and data",
        "IoU (points)",
        tuple(
            Line(name, number, tuple(Point(images, value + number, (value, value + 2 * number)) for images, value in points))
            for number, name in enumerate(SOURCES)
        ),
    )


def dots() -> Dots:
    """Return four cells of rising cost, of which the third is dominated by the second."""
    found = [(0.1, 40.0), (0.2, 60.0), (0.4, 50.0), (0.8, 70.0)]
    return Dots(
        "Score and cost",
        "GPU hours",
        "IoU (points)",
        tuple(
            Dot(name, cost, value, y_interval=(value - 2, value + 2), source=number, is_hollow=number == 1, label=name)
            for number, (name, (cost, value)) in enumerate(zip(SOURCES, found, strict=True))
        ),
        has_front=True,
        sources=SOURCES,
    )


def shares() -> Shares:
    """Return two effects and the noise."""
    effects = (Share("source", 0.6, 8.1, (5.0, 11.2)), Share("source × freeze", 0.004, 0.5, (-1.0, 2.0)))
    return Shares("What matters", "points of IoU", (*effects, Share("seeds and test images", 0.396, is_noise=True)))


def tuning() -> Tuning:
    """Return a cell with a chosen, a stopped and a finished trial."""
    trials = (TunedTrial(1e-3, 60.0, is_chosen=True), TunedTrial(1e-2, 40.0, 3, 55.0), TunedTrial(1e-4, 59.5))
    return Tuning("learning rate", "validation IoU (points)", 1.0, (TunedCell(HOSTILE, trials, is_at_edge=True),))


def curves(epochs: int = 30) -> list[CellCurves]:
    """Return the falling losses of one cell."""
    numbers = tuple(range(1, epochs + 1))
    mean = tuple(1 / number for number in numbers)
    curve = Curve(numbers, mean, tuple(0.9 * value for value in mean), tuple(1.1 * value for value in mean))
    return [CellCurves(HOSTILE, 1, curve, curve)]


def cell_rows(cells: int = 4) -> CellTable:
    """Return cells of rising score, of which the last is among the best, and one without a score."""
    rows = [
        CellRow(
            (SOURCES[number % 4], ("none", "encoder")[number % 2]),
            Score(value := 40.0 + number, (value - 2, value + 2), (value - 1, value + 1), number == cells - 1, value + 1),
            "among the best" if number == cells - 1 else "beaten",
            (Entry("0.01*", 0.01), Entry("0.31", 0.31, "+ 0.12 shared")),
            number % 4,
        )
        for number in range(cells)
    ]
    failed = CellRow(("coco", "none"), None, "failed", (Entry("–"), Entry("–")), 2)
    columns = (Column("learning_rate", "rate", "* at the edge"), Column("cost", "GPU-h"))
    return CellTable(("source", "freeze"), "IoU", columns, (*rows, failed))


def images(classes: int = 3, rows: int = 2, columns: int = 2, px: int = 24) -> ImageGrid:
    """Return images of noise with a square of each class in turn; the second column predicts a shifted mask."""
    noise = np.random.default_rng(0)
    names = ("background", *(HOSTILE if number == 1 else f"class {number}" for number in range(1, classes)))

    def row(number: int) -> ImageRow:
        truth: Pixels = np.zeros((px, px), dtype=np.uint8)
        truth[px // 4 : px // 2, px // 4 : px // 2] = 1 + number % (classes - 1)
        truth[0] = 255
        masks = [np.roll(np.where(truth == 255, 0, truth), shift, axis=0).astype(np.uint8) for shift in range(columns)]
        image = noise.integers(0, 256, (px, px, 3)).astype(np.uint8)
        predictions = tuple(Prediction(mask, 90.0 - shift) for shift, mask in enumerate(masks))
        return ImageRow(f"image-{number}", "median", image, truth, predictions)

    heads = tuple(ImageColumn(SOURCES[number % 4], number % 4) for number in range(columns))
    return ImageGrid(names, 0, "IoU", heads, tuple(row(number) for number in range(rows)))


def unknown_score() -> Score:
    """Return the score of a cell with one seed and no interval."""
    return Score(50.0, (math.nan, math.nan), (50.0,))
