"""Forest plots: estimates with two intervals each, one row per level of an axis or per cell."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from segsweep.report.page.drawing import (
    NARROW,
    Frame,
    label,
    responsive,
    row,
    shortened,
    svg,
    text_width,
    x_axis,
)
from segsweep.report.page.figure import Numbers, figure
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.number_text import decimals_of, interval_text, signed
from segsweep.report.page.scales import Scale, linear

LABEL_MOST, VALUE_UNITS, GAP = 230.0, 128.0, 14.0  # widths of columns in units
PITCH, NARROW_PITCH = 26, 44  # height of a row
AXIS_UNITS = 40  # height of the axis below the rows
MOST_MARKED = 24  # rows; in a larger forest the seeds are in the table alone
DESCRIBED = 8  # rows that the description names


@dataclass(frozen=True)
class ForestRow:
    """An estimate in the chart's unit, its 95 % interval alone, and that for all rows together.

    `seeds` are the values of single seeds. `source` is the number of the source that highlights this row; None for none.
    Without an estimate (NaN), `note` says why. An interval's ends can be infinite or, with one seed, NaN. Neighbouring rows of
    one `group` stand below its name; the interval for all rows together is then for those of the group.
    """

    label: str
    estimate: float
    alone: tuple[float, float]
    together: tuple[float, float]
    seeds: tuple[float, ...] = ()
    source: int | None = None
    note: str = ""
    group: str = ""

    @property
    def is_sure(self) -> bool:
        """Whether the interval for all rows together leaves out zero."""
        return self.together[0] > 0 or self.together[1] < 0


@dataclass(frozen=True)
class Forest:
    """A forest plot of at least one row. `unit` names the numbers ("points of IoU").

    With `is_difference` it has a line at zero, a grey band of +- `matters` around it, and filled markers for sure rows. Without
    `decides` no row is sure: the intervals are dashed, because they do not cover other seeds or rest on too few.
    """

    title: str
    unit: str
    rows: tuple[ForestRow, ...]
    matters: float = 0.0
    is_difference: bool = True
    decides: bool = True


def forest_figure(forest: Forest, caption: str) -> Markup:
    """Return the plot for wide and narrow screens, its caption and its table."""
    return figure(responsive(lambda width: draw_forest(forest, width)), caption, forest_numbers(forest))


def draw_forest(forest: Forest, width: int) -> Markup:
    """Return the plot as SVG, `width` units wide. The narrow drawing has labels above the intervals."""
    narrow = width <= NARROW
    pitch = NARROW_PITCH if narrow else PITCH
    labels = min(LABEL_MOST, max(text_width(each.label) for each in forest.rows) + GAP)
    left, right = (GAP, width - GAP) if narrow else (labels + GAP, width - VALUE_UNITS - GAP)
    lines = list(_lines(forest.rows))
    frame = Frame(left, right, 4, 4 + pitch * len(lines))
    scale = linear(_extent(forest), left, right, 5 if narrow else 7)
    widths = (width - VALUE_UNITS - GAP if narrow else labels, float(width))
    middles = [frame.top + pitch * (number + 0.5) for number in range(len(lines))]
    rows = [
        label(each, 0.0, y, "group") if isinstance(each, str) else _row(each, forest, scale, widths, y)
        for each, y in zip(lines, middles, strict=True)
    ]
    parts = [x_axis(scale, frame, forest.unit), _zero(forest, scale, frame), *rows]
    return svg(
        forest.title,
        _description(forest),
        width,
        frame.bottom + AXIS_UNITS,
        *parts,
        class_=f"chart forest{'' if forest.decides else ' dashed'}",
    )


def forest_numbers(forest: Forest) -> Numbers:
    """Return the rows of a forest plot as a table."""
    groups = any(each.group for each in forest.rows)
    headings = (*(("",) if groups else ()), "", forest.unit, "95 % alone", "95 % all together", "seeds")
    rows = [((each.group,) if groups else ()) + _numbers(each, plus=forest.is_difference) for each in forest.rows]
    return Numbers(headings, tuple(rows))


def _lines(rows: Iterable[ForestRow]) -> Iterator[ForestRow | str]:
    """Yield the rows, each group after its name."""
    for group, members in groupby(rows, key=lambda row: row.group):
        yield from [group] if group else []
        yield from members


def _extent(forest: Forest) -> Iterable[float]:
    band = (-forest.matters, forest.matters) if forest.is_difference else ()
    values = [value for each in forest.rows for value in (each.estimate, *each.alone, *each.together, *each.seeds)]
    return (value for value in (*values, *band, *(() if any(map(math.isfinite, values)) else (0.0,))) if math.isfinite(value))


def _zero(forest: Forest, scale: Scale, frame: Frame) -> Markup | None:
    if not forest.is_difference:
        return None
    left, right = scale(-forest.matters), scale(forest.matters)
    band = element("rect", class_="band", x=left, y=frame.top, width=right - left, height=frame.bottom - frame.top)
    line = element("path", class_="zero", d=f"M{scale(0):.1f} {frame.top:.0f}V{frame.bottom:.0f}")
    return element("g", band if forest.matters else None, line)


def _row(each: ForestRow, forest: Forest, scale: Scale, widths: tuple[float, float], y: float) -> Markup:
    """Return a row at `y`; `widths` are the room of the label and that of the drawing."""
    narrow = widths[1] <= NARROW
    above = -13.0 if narrow else 0.0
    text = shortened(each.label, widths[0])
    name, full = label(text, 0.0, above), "" if text == each.label else f"{each.label}: "
    if math.isnan(each.estimate):
        return row(f"{full}{each.note}", name, label(each.note, widths[1], above, "v"), source=each.source, y=y)
    alone, together = (interval_text(ends, _decimals(each)) for ends in (each.alone, each.together))
    title = f"{full}alone {alone}; together {together}"
    value = label(_value(each, forest), widths[1], above, "v")
    return row(title, name, value, *_marks(each, forest, scale, 5 if narrow else 0), source=each.source, y=y)


def _marks(each: ForestRow, forest: Forest, scale: Scale, y: int) -> list[Markup]:
    thick, thin = (_line(ends, scale, y) for ends in (each.together, each.alone))
    seeds = "".join(f"M{scale(seed):.0f} {y + 6}v5" for seed in each.seeds) if len(forest.rows) <= MOST_MARKED else ""
    sure = forest.decides and (each.is_sure or not forest.is_difference)
    return [
        *([element("path", class_="t", d=thick)] if thick and forest.decides else []),
        *([element("path", class_="a", d=thin)] if thin else []),
        *([element("path", class_="s", d=seeds)] if seeds else []),
        element("circle", cx=round(scale(each.estimate)), cy=y or None, class_=None if sure else "hollow"),
    ]


def _line(ends: tuple[float, float], scale: Scale, y: int) -> str:
    if math.isnan(ends[0]) or math.isnan(ends[1]):
        return ""
    return f"M{scale(ends[0]):.0f} {y}H{scale(ends[1]):.0f}"


def _decimals(each: ForestRow) -> int:
    half = (each.together[1] - each.together[0]) / 2
    return decimals_of(half if math.isfinite(half) else 1.0)


def _estimate(each: ForestRow, forest: Forest) -> str:
    return signed(each.estimate, _decimals(each), plus=forest.is_difference)


def _value(each: ForestRow, forest: Forest) -> str:
    """Return the estimate with the interval for all rows together."""
    low, high = each.together
    if not (math.isfinite(low) and math.isfinite(high)):
        return _estimate(each, forest)
    decimals = _decimals(each)
    return f"{_estimate(each, forest)} [{signed(low, decimals, plus=False)}, {signed(high, decimals, plus=False)}]"


def _description(forest: Forest) -> str:
    shown = [
        f"{each.label}: {_value(each, forest) if not math.isnan(each.estimate) else each.note}"
        for each in forest.rows[:DESCRIBED]
    ]
    more = len(forest.rows) - len(shown)
    return f"{forest.unit}, with the 95 % interval for all together. {'; '.join(shown)}" + (f"; and {more} more" if more else "")


def _numbers(each: ForestRow, *, plus: bool) -> tuple[str, ...]:
    if math.isnan(each.estimate):
        return (each.label, each.note, "", "", "")
    decimals = _decimals(each)
    seeds = ", ".join(signed(seed, decimals, plus=False) for seed in each.seeds)
    ends = (interval_text(each.alone, decimals), interval_text(each.together, decimals))
    return (each.label, signed(each.estimate, decimals, plus=plus), *ends, seeds)
