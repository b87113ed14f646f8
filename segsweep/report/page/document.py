"""The document around the sections: head, styles, contents, and the script."""

from dataclasses import dataclass
from pathlib import Path

from segsweep.report.page.markup import Child, Markup, element, literal, markup

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"  # no network at all
STYLES, SCRIPT = (Path(__file__).with_name(name) for name in ("page.css", "page.js"))


@dataclass(frozen=True)
class Section:
    """A section with its heading and the id that links point to."""

    ident: str
    heading: str
    content: Markup


def document(title: str, head: Child, sections: list[Section], foot: Child = None) -> Markup:
    """Return a whole HTML document: the title as its only h1, `head` below it, the contents, the sections, and `foot`.

    The document needs no other file and no network; its policy forbids both.
    """
    contents = element("ol", (element("li", element("a", each.heading, href=f"#{each.ident}")) for each in sections))
    body = element(
        "body",
        element("a", "Skip to the sections", href="#sections", class_="skip"),
        element("header", element("h1", title), head),
        element("nav", contents, aria_label="Contents") if len(sections) > 1 else None,
        element("main", (_section(each) for each in sections), id="sections"),
        element("footer", foot) if foot else None,
        element("script", literal(SCRIPT.read_text(encoding="utf-8"))),
    )
    return markup(literal("<!doctype html>\n"), element("html", _head(title), body, lang="en"))


def _section(section: Section) -> Markup:
    return element("section", element("h2", section.heading), section.content, id=section.ident)


def _head(title: str) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", literal(STYLES.read_text(encoding="utf-8"))),
    )
