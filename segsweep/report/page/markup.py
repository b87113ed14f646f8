"""HTML and SVG elements. Text is escaped unless it is `Markup` already."""

import re
from collections.abc import Iterable
from html import escape

# elements without an end tag
EMPTY = ("meta", "input", "br", "wbr", "hr", "img", "path", "line", "rect", "circle", "use", "image")
# control characters, and marks that reverse the direction of text
UNSHOWN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


class Markup(str):
    """HTML or SVG. Only this module and `literal` make it, so text from outside is always escaped."""


Child = str | Iterable["Child"] | None
Attribute = str | float | bool | None


def literal(text: str) -> Markup:
    """Return text of the project itself (CSS, JavaScript, an entity) as markup, unchanged."""
    return Markup(text)


def markup(*children: Child) -> Markup:
    """Return children one after the other: text is escaped, `Markup` unchanged, None left out, iterables flattened."""
    return Markup("".join(_part(child) for child in children))


def element(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """Return an element.

    `_` in the name of an attribute stands for `-`; a final `_` is dropped (`class_`). None and False omit the attribute, True
    makes it empty; floats have one decimal at most.
    """
    parts = [f' {_name(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None and value is not False]
    if name in EMPTY:
        assert not children, name
        return Markup(f"<{name}{''.join(parts)}/>")
    return Markup(f"<{name}{''.join(parts)}>{markup(*children)}</{name}>")


def breakable(text: str) -> Markup:
    """Return text that may be broken after underscores, colons, slashes and plus signs."""
    parts = re.split(r"(?<=[_:/+@])(?=\w)", text)
    return markup(part if number == 0 else (element("wbr"), part) for number, part in enumerate(parts))


def trimmed(value: float) -> str:
    """Return a coordinate with one decimal at most, without a trailing zero."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _part(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape(UNSHOWN.sub("\ufffd", child), quote=False)
    return "".join(_part(each) for each in child)


def _name(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")


def _value(value: Attribute) -> str:
    if value is True:
        return ""
    return trimmed(value) if isinstance(value, float) else escape(UNSHOWN.sub("\ufffd", str(value)))
