"""A chart with its caption and its numbers as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """Return a table whose columns are numbers, except the first."""
    head = element("thead", element("tr", (element("th", text, scope="col") for text in numbers.headings)))
    return element("table", head, element("tbody", (_row(row) for row in numbers.rows)), class_="plain")


def _row(texts: Sequence[str]) -> Markup:
    first, *others = texts
    return element("tr", element("th", first, scope="row"), (element("td", text) for text in others))


def scrolled_table(numbers: Numbers) -> Markup:
    """Return a table that scrolls in its own box where it is too wide."""
    return element("div", plain_table(numbers), class_="scroll", tabindex="0")


def paragraphs(lines: Sequence[str]) -> Markup:
    """Return a paragraph per line."""
    return markup(element("p", line) for line in lines)
