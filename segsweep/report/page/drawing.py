"""Parts that all charts share: the SVG element with its description, axes, markers, and text that fits."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from zlib import crc32

from segsweep.report.page.markup import Child, Markup, element, markup
from segsweep.report.page.scales import Scale

WIDE, NARROW = 640, 360  # widths of drawings in units; the style sheet shows the narrow one below 600 px
TEXT_UNITS = 13  # size of text in a drawing
COLOURS = 8  # of the style sheet: classes c0..c7
MARKERS = (  # a path per source, around its position; 7 shapes and 8 colours make 56 distinct looks
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "M-4-4H4V4H-4z",
    "M0-5.5 5.2 4H-5.2z",
    "M0-5.8 5.8 0 0 5.8-5.8 0z",
    "M0 5.5 5.2-4H-5.2z",
    "M-1.8-5.2H1.8V-1.8H5.2V1.8H1.8V5.2H-1.8V1.8H-5.2V-1.8H-1.8z",
    "M0-5.8 1.6-1.9 5.6-1.8 2.6.9 3.5 4.8 0 2.6-3.5 4.8-2.6.9-5.6-1.8-1.6-1.9z",
)


@dataclass(frozen=True)
class Frame:
    """The area of a chart inside its axes, in units: `left`..`right`, `top`..`bottom`."""

    left: float
    right: float
    top: float
    bottom: float


def svg(title: str, description: str, width: float, height: float, *children: Child, class_: str = "chart") -> Markup:
    """Return an image for sighted readers that a screen reader announces by its title and description."""
    ident = f"{crc32(f'{title}{description}{width}'.encode(errors='replace')):x}"
    return element(
        "svg",
        element("title", title, id=f"t{ident}"),
        element("desc", description, id=f"d{ident}"),
        *children,
        class_=class_,
        role="img",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        aria_labelledby=f"t{ident} d{ident}",
    )


def responsive(draw: Callable[[int], Markup]) -> Markup:
    """Return a chart drawn for wide and for narrow screens; the style sheet shows one of the two."""
    return markup(element("div", draw(WIDE), class_="wide"), element("div", draw(NARROW), class_="narrow"))


def row(title: str, *children: Child, source: int | None = None, y: float | None = None) -> Markup:
    """Return a part of a chart at height `y`. It can be focused, has a tooltip, and is highlighted with others of its source."""
    place = None if y is None else f"translate(0 {y:.0f})"
    return element("g", element("title", title), *children, tabindex="0", data_s=source, transform=place)


def marker(source: int, x: float, y: float, *, hollow: bool = False) -> Markup:
    """Return the marker of a source at a position, in its colour."""
    shape = MARKERS[source % len(MARKERS)]
    place = f"translate({x:.1f} {y:.1f})"
    return element("path", class_=f"m {colour(source)}{' hollow' if hollow else ''}", transform=place, d=shape)


def colour(source: int) -> str:
    """Return the style sheet's class with the colour of a source."""
    return f"c{source % COLOURS}"


def label(text: str, x: float, y: float, class_: str | None = None) -> Markup:
    """Return text whose vertical middle is at `y`.

    It begins at `x`, unless its class centres it there (`tick`) or lets it end there (`v`, `end`).
    """
    return element("text", text, x=x or None, y=y or None, class_=class_)


def x_axis(scale: Scale, frame: Frame, title: str) -> Markup:
    """Return vertical grid lines, the tick labels below the frame, and the axis's title below them."""
    lines = "".join(f"M{scale(tick):.1f} {frame.top:.0f}V{frame.bottom:.0f}" for tick in scale.ticks)
    texts = zip(scale.ticks, scale.tick_texts, strict=True)
    return markup(
        element("path", class_="grid", d=lines),
        [label(text, scale(tick), frame.bottom + 11, "tick") for tick, text in texts],
        label(title, (frame.left + frame.right) / 2, frame.bottom + 28, "tick") if title else None,
    )


def y_axis(scale: Scale, frame: Frame, title: str) -> Markup:
    """Return horizontal grid lines, the tick labels left of the frame, and the axis's title above them."""
    lines = "".join(f"M{frame.left:.0f} {scale(tick):.1f}H{frame.right:.0f}" for tick in scale.ticks)
    texts = zip(scale.ticks, scale.tick_texts, strict=True)
    return markup(
        element("path", class_="grid", d=lines),
        [label(text, frame.left - 6, scale(tick), "tick end") for tick, text in texts],
        label(title, 0.0, frame.top - 12, "tick start") if title else None,
    )


def text_width(text: str, size: float = TEXT_UNITS) -> float:
    """Return the approximate width of text in units: wide (East Asian) characters count as one em, others as 0.6."""
    return size * sum(1.0 if unicodedata.east_asian_width(character) in "WF" else 0.6 for character in text)


def shortened(text: str, width: float, size: float = TEXT_UNITS) -> str:
    """Return text that fits a width. Its middle is replaced by an ellipsis if it is too long: names differ at both ends."""
    kept = len(text)
    while kept > 2 and text_width(_without_middle(text, kept), size) > width:
        kept -= 1
    return _without_middle(text, kept)


def spread(positions: Iterable[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions at least `gap` apart, in the given order of size, moved as little as a single sweep allows.

    They stay within `low`..`high` where there is room.
    """
    wanted = list(positions)
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed = list(wanted)
    floor = low
    for place in order:
        placed[place] = floor = max(wanted[place], floor)
        floor += gap
    ceiling = high
    for place in reversed(order):
        placed[place] = min(placed[place], ceiling)
        ceiling = placed[place] - gap
    return placed


def hatch(ident: str) -> Markup:
    """Return the definition of a hatched fill under a name that is unique in the document."""
    line = element("path", class_="hatch", d="M0 0V6")
    units, turned = "userSpaceOnUse", "rotate(45)"
    return element("defs", element("pattern", line, id=ident, width=6, height=6, patternUnits=units, patternTransform=turned))


def _without_middle(text: str, kept: int) -> str:
    if kept >= len(text):
        return text
    end = (kept - 1) // 2
    return f"{text[: kept - 1 - end]}…{text[len(text) - end :]}"


def source_key(names: Sequence[str]) -> Markup:
    """Return the names of sources with their colours and markers; the first is source 0."""
    entries = [
        element("span", element("svg", marker(number, 7, 7), class_="chart swatch", viewBox="0 0 14 14"), name, data_s=number)
        for number, name in enumerate(names)
    ]
    return element("p", entries, class_="key swatches")
