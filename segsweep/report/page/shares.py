"""Shares of the variation of a measure: one bar per effect, and the noise."""

import math
from dataclasses import dataclass
from zlib import crc32

from segsweep.report.page.drawing import NARROW, hatch, label, responsive, row, shortened, svg, text_width
from segsweep.report.page.figure import Numbers, figure
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.number_text import signed

PITCH, NARROW_PITCH, BAR_UNITS, GAP = 28, 46, 12, 14.0
LABEL_MOST, PERCENT_UNITS, RANGE_UNITS = 180.0, 44.0, 128.0


@dataclass(frozen=True)
class Share:
    """An effect's share (0..1), and the largest difference between two of its levels with its 95 % interval (NaN: none).

    `levels` names the two: "lowest to highest".
    """

    effect: str
    share: float
    largest: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)
    is_noise: bool = False
    levels: str = ""


@dataclass(frozen=True)
class Shares:
    """Shares of at least one effect, in the order of display. `unit` is that of the differences."""

    title: str
    unit: str
    shares: tuple[Share, ...]


def shares_figure(shares: Shares, caption: str) -> Markup:
    """Return the chart for wide and narrow screens, its caption and its table."""
    return figure(responsive(lambda width: draw_shares(shares, width)), caption, shares_numbers(shares))


def draw_shares(shares: Shares, width: int) -> Markup:
    """Return the chart as SVG, `width` units wide. All bars have one scale, from 0 to the largest share."""
    narrow = width <= NARROW
    labels = 0.0 if narrow else min(LABEL_MOST, max(text_width(each.effect) for each in shares.shares)) + GAP
    right = width - PERCENT_UNITS - (0 if narrow else RANGE_UNITS)
    pitch = NARROW_PITCH if narrow else PITCH
    unit_per_share = (right - labels) / max(max(each.share for each in shares.shares), 1e-9)
    ident = f"h{crc32(f'{shares.title}{width}'.encode(errors='replace')):x}"
    rows = []
    for number, each in enumerate(shares.shares):
        above, middle = (-10, 9) if narrow else (0, 0)
        name = label(shortened(each.effect, width - RANGE_UNITS if narrow else LABEL_MOST), 0, above)
        long = max(each.share * unit_per_share, 1.0)
        fill = f"url(#{ident})" if each.is_noise else None
        bar = element("rect", class_="b", x=labels, y=middle - BAR_UNITS // 2, width=long, height=BAR_UNITS, fill=fill)
        texts = (label(_percent(each.share), labels + long + 6, middle), label(_range(each), width, above, "v"))
        rows.append(row(_title(each, shares.unit), name, bar, *texts, y=4 + pitch * (number + 0.5)))
    return svg(shares.title, _description(shares), width, 8 + pitch * len(rows), hatch(ident), *rows, class_="chart shares")


def shares_numbers(shares: Shares) -> Numbers:
    """Return the shares as a table."""
    rows = tuple((each.effect, _percent(each.share), each.levels, _range(each)) for each in shares.shares)
    return Numbers(("", "share", "from the lowest level to the highest", shares.unit), rows)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "< 1 %"


def _range(each: Share) -> str:
    if math.isnan(each.largest):
        return ""
    low, high = each.interval
    ends = "" if math.isnan(low) else f" [{signed(low, plus=False)}, {signed(high, plus=False)}]"
    return f"{signed(each.largest, plus=False)}{ends}"


def _title(each: Share, unit: str) -> str:
    ends = f"; {each.levels or 'from the lowest level to the highest'}: {_range(each)} {unit}" if _range(each) else ""
    return f"{each.effect}: {_percent(each.share)}{ends}"


def _description(shares: Shares) -> str:
    return "; ".join(_title(each, shares.unit) for each in shares.shares)
