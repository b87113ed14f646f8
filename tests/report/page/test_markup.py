"""Elements escape what comes from outside."""

import pytest
from parsed_markup import parsed, texts

from segsweep.report.page.markup import Markup, element, literal, markup

HOSTILE = "<script>alert(1)</script>\"'&"


def test_text_and_attributes_are_escaped() -> None:
    """Hostile text is shown as it is, in content and in attributes, and makes no element."""
    made = element("p", HOSTILE, title=HOSTILE)
    assert "<script" not in made
    node = parsed(made)
    assert (texts(node), node.get("title"), len(node)) == (HOSTILE, HOSTILE, 0)


def test_elements_nest_without_being_escaped_again() -> None:
    """Markup inside markup stays; None and False leave out children and attributes."""
    made = element("div", element("b", "1 < 2"), [None, literal("&#160;")], hidden=False, class_="x", data_s=3, y=None)
    assert made == '<div class="x" data-s="3"><b>1 &lt; 2</b>&#160;</div>'
    assert isinstance(markup("a", made), Markup)


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\u202e", "\ud800", "\uffff"])
def test_characters_that_break_or_reverse_a_page_are_replaced(bad: str) -> None:
    """Control characters, lone surrogates and marks of direction become U+FFFD."""
    node = parsed(element("p", f"a{bad}b", title=bad))
    assert (texts(node), node.get("title")) == ("a\ufffdb", "\ufffd")


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (1.26, "1.3"), (-0.01, "0"), (12.04, "12")])
def test_coordinates_have_one_decimal_at_most(value: float, text: str) -> None:
    """A float attribute is rounded to what can be seen."""
    assert element("circle", cx=value) == f'<circle cx="{text}"/>'
