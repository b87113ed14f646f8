"""The document around the charts: self-contained, structured, and legible in both themes."""

import re
from html.parser import HTMLParser
from itertools import product

import page_samples as samples
import pytest
from parsed_markup import parsed, texts

from segsweep.report.page.cell_table import cell_table
from segsweep.report.page.document import SCRIPT, STYLES, Section, document
from segsweep.report.page.forest import forest_figure
from segsweep.report.page.image_grid import image_grid
from segsweep.report.page.markup import Markup, element

TEXT_COLOURS, GROUNDS = ("fg", "mute", "link", "ok"), ("bg", "soft")
MARK_COLOURS = ("mark", *(f"c{number}" for number in range(8)))


def page() -> Markup:
    sections = [
        Section("cells", "All cells", cell_table(samples.cell_rows())),
        Section("source", "Sources", forest_figure(samples.forest(), "caption")),
        Section("images", "Images", image_grid(samples.images())),
    ]
    return document(samples.HOSTILE, element("p", "The answer."), sections)


def themes() -> list[dict[str, str]]:
    """Return the colours of the light and of the dark theme by name."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLES.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in (light, dark)]


def contrast(one: str, two: str) -> float:
    """Return the contrast of two colours by WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_the_document_has_one_heading_a_language_and_contents() -> None:
    """There is one h1, a language, and a numbered link to every section."""
    root = parsed(page())
    assert [texts(node) for node in root.iter("h1")] == [samples.HOSTILE]
    assert root.get("lang") == "en"
    sections = [node.get("id") for node in root.iter("section")]
    assert [node.get("href") for node in root.findall(".//nav//a")] == [f"#{ident}" for ident in sections]


def test_the_document_needs_nothing_else() -> None:
    """Its policy forbids every request, and no attribute or style refers to anything but embedded data and the page itself."""
    made = page()
    policy = next(node.get("content") for node in parsed(made).iter("meta") if node.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not [url for url in re.findall(r"""(?:href|src)="([^"]*)""", made) if not url.startswith(("#", "data:"))]
    assert not re.search(r"@import|url\((?!#)", made)


def test_a_lenient_parser_finds_no_script_but_the_pages_own() -> None:
    """A title, a source and a class called like a script stay text, also for a parser of HTML."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(tag)
            assert not any(name.startswith("on") for name, _ in attrs)

    Reader().feed(page())
    assert found.count("script") == 1


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_stand_out_in_both_themes(theme: int) -> None:
    """All text has a contrast of 4.5 or more to what lies behind it, and all marks of 3."""
    colours = themes()[theme]
    weak = [pair for pair in product(TEXT_COLOURS, GROUNDS) if contrast(colours[pair[0]], colours[pair[1]]) < 4.5]
    assert not weak
    assert not [name for name in MARK_COLOURS if contrast(colours[name], colours["bg"]) < 3]


def test_the_frame_of_a_page_is_small() -> None:
    """Styles and script together take less than 20 kB."""
    assert STYLES.stat().st_size + SCRIPT.stat().st_size < 20_000
