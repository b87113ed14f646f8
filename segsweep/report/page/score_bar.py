"""Bars inside a table: a cell's score on the scale of all cells, with its interval and seeds."""

import math
from dataclasses import dataclass

from segsweep.report.page.drawing import label
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.scales import Scale, linear

WIDTH, HEIGHT = 170, 18  # units, which are pixels here
TICKS = 4


@dataclass(frozen=True)
class Score:
    """A cell's measure in the table's unit, its 95 % interval (NaN: none), its seeds, and whether it is among the best.

    `published` is the number that a paper reports for the cell (NaN: none).
    """

    value: float
    interval: tuple[float, float]
    seeds: tuple[float, ...] = ()
    is_among_best: bool = False
    published: float = math.nan


def bar_scale(scores: list[Score]) -> Scale | None:
    """Return the scale that the bars of all cells share; None without a finite number."""
    values = [value for score in scores for value in (score.value, *score.interval, *score.seeds, score.published)]
    finite = [value for value in values if math.isfinite(value)]
    return linear(finite, 4, WIDTH - 4, TICKS) if finite else None


def bar_axis(scale: Scale) -> Markup:
    """Return the numbers of the scale, for the head of the bars' column."""
    texts = [label(text, scale(tick), HEIGHT - 6, "tick") for tick, text in zip(scale.ticks, scale.tick_texts, strict=True)]
    return element("svg", *texts, class_="bar chart", viewBox=f"0 0 {WIDTH} {HEIGHT}", aria_hidden="true")


def score_bar(score: Score, scale: Scale) -> Markup:
    """Return a bar: line = interval, ticks = seeds, filled point = among the best, diamond = published.

    It is hidden from screen readers, because its numbers stand in the table.
    """
    low, high = score.interval
    across = scale(score.value) if math.isfinite(score.value) else None
    diamond = "M{:.0f} 9l4-4 4 4-4 4z"
    return element(
        "svg",
        element("path", class_="grid", d="".join(f"M{scale(tick):.0f}-9V27" for tick in scale.ticks)),
        None if math.isnan(low) else element("path", class_="a", d=f"M{scale(low):.0f} 8H{scale(high):.0f}"),
        element("path", class_="s", d="".join(f"M{scale(seed):.0f} 13v4" for seed in score.seeds)) if score.seeds else None,
        None if across is None else element("circle", cx=round(across), cy=8, class_=None if score.is_among_best else "hollow"),
        None if math.isnan(score.published) else element("path", class_="pub", d=diamond.format(scale(score.published) - 4)),
        class_="bar",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        aria_hidden="true",
    )
