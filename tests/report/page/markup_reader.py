"""Elements of a page, parsed: the pages are well-formed XML apart from the doctype."""

from collections.abc import Iterator
from xml.etree import ElementTree

Node = ElementTree.Element


def parsed(markup: str) -> Node:
    """Return the root of a document or fragment; raises if it is not well-formed."""
    return ElementTree.fromstring(markup.removeprefix("<!doctype html>"))


def found(node: Node, path: str) -> list[Node]:
    """Return the elements that match a path, as ".//text[@class='v']"."""
    return node.findall(path)


def texts(node: Node) -> str:
    """Return all text of an element."""
    return "".join(node.itertext())


def numbers_of(path: str) -> Iterator[float]:
    """Yield the numbers of a path's `d`."""
    for part in path.replace("M", " ").replace("H", " ").replace("V", " ").replace("L", " ").replace("v", " ").split():
        yield float(part)
