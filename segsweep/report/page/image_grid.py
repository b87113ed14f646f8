"""Test images with the predictions of several cells: each image once, with masks, outlines and errors over it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from segsweep.report.page.class_colours import CONFUSED, FALSE, IGNORED, MISSED, class_colours
from segsweep.report.page.embedded_images import IGNORE, Pixels, error_uri, mask_uri, outline_uri, photo_uri
from segsweep.report.page.markup import Markup, breakable, element
from segsweep.report.page.number_text import signed

TILE = 100  # units of a tile's width
NAMED = 6  # classes in an image's alternative text at most


@dataclass(frozen=True)
class Prediction:
    """A predicted mask, class numbers (H, W), and its score on the image in the grid's unit (NaN: none)."""

    mask_HW: Pixels
    score: float = math.nan


@dataclass(frozen=True)
class ImageRow:
    """A test image (H, W, 3), its true mask (H, W, 255: ignored), why it is shown, and a prediction per column (None: lost)."""

    name: str
    reason: str
    image_HWC: Pixels
    truth_HW: Pixels
    predictions: tuple[Prediction | None, ...]


@dataclass(frozen=True)
class ImageColumn:
    """A column of predictions: the cell's label, and the number of its source."""

    label: str
    source: int | None = None


@dataclass(frozen=True)
class ImageGrid:
    """At least one row, and its columns. `background` is the class that stays clear; None if there is none.

    `name` distinguishes the grids of a page; it is a word.
    """

    classes: tuple[str, ...]
    background: int | None
    measure: str
    columns: tuple[ImageColumn, ...]
    rows: tuple[ImageRow, ...]
    name: str = "images"


def image_grid(grid: ImageGrid) -> Markup:
    """Return the grid: the image, its truth and every prediction; hovering or focusing a prediction shows its errors."""
    heads = [element("th", name, scope="col") for name in ("", "image", "truth")]
    heads += [element("th", breakable(column.label), scope="col", data_s=column.source) for column in grid.columns]
    body = [_row(f"{grid.name}-{number}", row, grid) for number, row in enumerate(grid.rows)]
    table = element("table", element("thead", element("tr", heads)), element("tbody", body), class_="images")
    shared = [_shared(f"{grid.name}-{number}", row) for number, row in enumerate(grid.rows)]
    definitions = element("svg", shared, class_="defs", aria_hidden="true")
    return element(
        "div",
        definitions,
        _legend(grid),
        element("div", table, class_="scroll", tabindex="0", role="region", aria_label="Images"),
    )


def _row(key: str, row: ImageRow, grid: ImageGrid) -> Markup:
    truth = element("image", href=mask_uri(row.truth_HW, len(grid.classes), grid.background), class_="mask", **_size(row))
    first = [
        element("td", _tile(key, row, f"{row.name or row.reason}, test image")),
        element("td", _tile(key, row, f"{row.name or row.reason}, truth: {_shown(row.truth_HW, grid.classes)}", truth)),
    ]
    pairs = zip(grid.columns, row.predictions, strict=True)
    predicted = [_predicted(key, row, grid, column, prediction) for column, prediction in pairs]
    heading = element("th", element("b", row.reason), element("br"), element("small", breakable(row.name)), scope="row")
    return element("tr", heading, first, predicted)


def _predicted(key: str, row: ImageRow, grid: ImageGrid, column: ImageColumn, prediction: Prediction | None) -> Markup:
    if prediction is None:
        return element("td", element("small", "lost"), data_s=column.source)
    mask = mask_uri(prediction.mask_HW, len(grid.classes), grid.background)
    errors = error_uri(prediction.mask_HW, row.truth_HW, grid.background)
    layers = [
        element("image", href=mask, class_="mask", **_size(row)),
        element("use", href=f"#o-{key}"),
        element("image", href=errors, class_="errors", **_size(row)),
    ]
    score = "" if math.isnan(prediction.score) else f"{grid.measure} {signed(prediction.score, plus=False)}"
    shown = _shown(prediction.mask_HW, grid.classes)
    text = ", ".join(
        part for part in (row.name or row.reason, f"{column.label}: {shown}", score, _wrong(prediction, row)) if part
    )
    return element("td", _tile(key, row, text, *layers, focus=True), element("small", score), data_s=column.source)


def _tile(key: str, row: ImageRow, text: str, *layers: Markup, focus: bool = False) -> Markup:
    parts = (element("title", text), element("use", href=f"#i-{key}"), *layers)
    box = f"0 0 {TILE} {_height(row)}"
    return element("svg", *parts, class_="tile", role="img", viewBox=box, tabindex="0" if focus else None, aria_label=text)


def _shared(key: str, row: ImageRow) -> list[Markup]:
    """Return the parts that all tiles of a row use: the image, and the outline of its truth."""
    return [
        element("image", id=f"i-{key}", href=photo_uri(row.image_HWC), **_size(row)),
        element("image", id=f"o-{key}", class_="outline", href=outline_uri(row.truth_HW), **_size(row)),
    ]


def _height(row: ImageRow) -> int:
    height, width = row.truth_HW.shape
    return round(TILE * float(height) / float(width))


def _size(row: ImageRow) -> dict[str, str]:
    return {"width": str(TILE), "height": str(_height(row)), "preserveAspectRatio": "none"}


def _shown(mask_HW: Pixels, classes: Sequence[str]) -> str:
    """Return the names of the classes in a mask with their shares of its pixels, the largest first."""
    numbers, counts = np.unique(mask_HW[mask_HW != IGNORE], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:NAMED]
    texts = [f"{classes[numbers[place]]} {100 * counts[place] / max(1, mask_HW.size):.0f} %" for place in order]
    return ", ".join(texts) or "nothing"


def _wrong(prediction: Prediction, row: ImageRow) -> str:
    counted = row.truth_HW != IGNORE
    share = float((prediction.mask_HW != row.truth_HW)[counted].mean()) if counted.any() else 0.0
    return f"{100 * share:.1f} % of pixels wrong"


def _legend(grid: ImageGrid) -> Markup:
    """Return the colours of all classes, and those of errors."""
    colours = class_colours(len(grid.classes), grid.background)
    classes = [(name, colour) for name, colour in zip(grid.classes, colours, strict=True) if colour]
    if any((row.truth_HW == IGNORE).any() for row in grid.rows):
        classes.append(("ignored", IGNORED))
    errors = [] if grid.background is None else [("missed", MISSED), ("false", FALSE)]
    if len(grid.classes) > 2 or grid.background is None:
        errors.append(("another class", CONFUSED))
    hover = element("p", "Errors, on hover and in focus: ", _swatches(errors))
    line = element("p", "Line over predictions: outline of the truth")
    return element("div", element("p", "Classes: ", _swatches(classes)), hover, line, class_="legend")


def _swatches(named: Iterable[tuple[str, str]]) -> Markup:
    def swatch(colour: str) -> Markup:
        return element("svg", element("rect", width="12", height="12", fill=colour), class_="swatch", viewBox="0 0 12 12")

    return element("span", (element("span", swatch(colour), name) for name, colour in named), class_="swatches")
