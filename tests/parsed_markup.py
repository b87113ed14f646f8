"""Elements of a page, parsed: a page is well-formed XML apart from its doctype and its script."""

import re
from xml.etree import ElementTree

Node = ElementTree.Element


def parsed(markup: str) -> Node:
    """Return a document or fragment, without the content of scripts; raises if it is not well-formed.

    Several elements without a common one are put below an element `root`.
    """
    without = re.sub(r"(<script>).*?(</script>)", r"\1\2", markup.removeprefix("<!doctype html>"), flags=re.DOTALL)
    root = ElementTree.fromstring(f"<root>{without}</root>")
    return root[0] if len(root) == 1 else root


def texts(node: Node) -> str:
    """Return all text of an element."""
    return "".join(node.itertext())


def with_class(node: Node, name: str) -> list[Node]:
    """Return the elements below a node that have a class."""
    return [each for each in node.iter() if name in each.get("class", "").split()]
