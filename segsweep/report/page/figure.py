"""A chart with its caption and its numbers as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from segsweep.report.page.markup import Child, Markup, element, markup


@dataclass(frozen=True)
class Numbers:
    """The numbers of a chart as a table: headings, and rows whose first text is the row's name."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def figure(chart: Child, caption: str, numbers: Numbers) -> Markup:
    """Return a chart, its caption, and a fold with its table."""
    return element("figure", chart, element("figcaption", caption), folded_table(numbers))


def folded_table(numbers: Numbers) -> Markup:
    """Return a closed fold, "Show as table", with the numbers."""
    return element("details", element("summary", "Show as table"), element("div", plain_table(numbers), class_="scroll"))


def plain_table(numbers: Numbers) -> Markup:
    """Return a table whose columns are numbers, except the first. Neighbouring rows of one name share its cell."""
    head = element("thead", element("tr", (element("th", text, scope="col") for text in numbers.headings)))
    groups = [list(rows) for _, rows in groupby(numbers.rows, key=lambda row: row[0])]
    return element("table", head, element("tbody", (_rows(rows) for rows in groups)), class_="plain")


def _rows(rows: Sequence[Sequence[str]]) -> list[Markup]:
    """Return the rows of one name."""
    scope, span = ("rowgroup", len(rows)) if len(rows) > 1 else ("row", None)
    name = element("th", rows[0][0], scope=scope, rowspan=span)
    return [
        element("tr", None if place else name, (element("td", text) for text in others))
        for place, (_, *others) in enumerate(rows)
    ]


def scrolled_table(numbers: Numbers) -> Markup:
    """Return a table that scrolls in its own box where it is too wide."""
    return element("div", plain_table(numbers), class_="scroll", tabindex="0", role="region", aria_label="Table")


def paragraphs(lines: Sequence[str]) -> Markup:
    """Return a paragraph per line."""
    return markup(element("p", line) for line in lines)
