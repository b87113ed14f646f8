"""The page in a real browser: nothing is asked for, and sorting, filtering, copying, printing and small screens work."""

from collections.abc import Iterator
from pathlib import Path

import page_samples as samples
import pytest
from chromium import PROGRAM, Chromium
from drawn_study import Drawn

from segsweep.report.page.cell_table import cell_table
from segsweep.report.page.curves import curves_figure
from segsweep.report.page.document import Section, document
from segsweep.report.page.dots import dots_figure
from segsweep.report.page.forest import forest_figure
from segsweep.report.page.image_grid import image_grid
from segsweep.report.page.lines import lines_figure
from segsweep.report.page.markup import element, markup
from segsweep.report.page.rates import tuning_figure
from segsweep.report.page.shares import shares_figure
from segsweep.report.page.study_page import study_page

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")]
ROWS = "[...document.querySelectorAll('table.cells tbody tr')]"
SHOWN = f"{ROWS}.filter(row => row.offsetParent).map(row => row.cells[2].dataset.v ?? '')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of chart."""
    charts = [
        forest_figure(samples.forest(), "caption"),
        lines_figure(samples.lines(), "caption"),
        dots_figure(samples.dots(), "caption"),
        shares_figure(samples.shares(), "caption"),
        tuning_figure(samples.tuning(), "caption"),
        curves_figure(samples.curves(), "caption"),
    ]
    sections = [
        Section("cells", "All cells", cell_table(samples.cell_rows())),
        Section("charts", "Charts", markup(charts)),
        Section("images", "Images", image_grid(samples.images(columns=8))),
    ]
    file = tmp_path_factory.mktemp("page") / "report.html"
    made = document("A study of sources", element("p", "The answer.", class_="answer"), sections)
    file.write_text(made, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(started: Chromium, page: Path) -> Chromium:
    """A browser that has just opened the page."""
    started.prefer()
    started.open(page)
    return started


def test_the_page_asks_for_nothing_and_says_nothing(browser: Chromium) -> None:
    """Opening it sends no request and writes nothing to the console; its policy refuses a request that a script tries."""
    assert browser.messages() == []
    assert browser.requests() == []
    blocked = "fetch('https://example.org').then(() => 'sent', () => 'refused')"
    assert browser.evaluate(blocked) == "refused"


def test_a_header_sorts_and_says_so(browser: Chromium) -> None:
    """Numbers sort by value, largest first, again the other way; a cell without a score stays last; Enter does the same."""
    browser.evaluate("document.querySelector('th[data-key=iou] button').focus()")
    browser.press("Enter", 13)
    assert browser.evaluate(SHOWN) == ["43", "42", "41", "40", ""]
    assert browser.evaluate("document.querySelector('th[data-key=iou]').ariaSort") == "descending"
    browser.press("Enter", 13)
    assert browser.evaluate(SHOWN) == ["40", "41", "42", "43", ""]
    browser.evaluate("document.querySelector('th[data-key=freeze] button').click()")
    assert browser.evaluate(f"{ROWS}.map(row => row.cells[1].textContent)") == ["encoder", "encoder", "none", "none", "none"]
    assert browser.evaluate("document.querySelectorAll('th[aria-sort=none]').length") == 6


@pytest.mark.parametrize(
    ("words", "scores"),
    [
        ("freeze=encoder", ["41", "43"]),
        ("freeze=encoder source~script", ["43"]),
        ('source="random weights"', ["40"]),
        ("iou>41.5", ["42", "43"]),
        ("coco", ["42", ""]),
        ("freeze=enc", []),
        ("", ["40", "41", "42", "43", ""]),
    ],
)
def test_a_filter_keeps_the_rows_that_fit(browser: Chromium, words: str, scores: list[str]) -> None:
    """`=` compares whole values, `~` parts, `<` and `>` numbers; other words are looked for in the row."""
    browser.evaluate(f"(field => {{field.value = {words!r}; field.oninput()}})(document.querySelector('.filter'))")
    assert browser.evaluate(SHOWN) == scores
    status = browser.evaluate("document.querySelector('.tools [role=status]').textContent")
    assert status == (f"{len(scores)} of 5 cells" if words else "")


def test_copies_hold_exact_numbers_or_latex(browser: Chromium) -> None:
    """CSV has values and both ends of the interval; LaTeX escapes what it must."""
    rows = "document.querySelector('table.cells').tBodies[0].rows"
    lines = browser.evaluate(f"csv(document.querySelector('table.cells'), [...{rows}])").splitlines()
    assert lines[0] == "source,freeze,iou,low,high,verdict,learning_rate,cost"
    assert lines[2] == "imagenet,encoder,41,39,43,beaten,0.01,0.31"
    assert lines[5] == "coco,none,–,,,failed,–,–"
    made = browser.evaluate(f"latex(document.querySelector('table.cells'), [{rows}[3]])").splitlines()
    assert made[0] == r"\begin{tabular}{llrrlrr}"
    assert made[2] == r"  source & freeze & IoU & 95 \% & verdict & rate & GPU-h \\"
    assert (
        made[4] == r"  <script>alert(1)</script> & encoder & 43.0 & 41.0--45.0 & among the best & 0.01* & 0.31 + 0.12 shared \\"
    )


def test_a_source_is_highlighted_everywhere(browser: Chromium) -> None:
    """Focusing a point of a source fades all others, in charts and in the table; focus elsewhere ends it."""
    browser.evaluate("document.querySelector('.wide g[tabindex][data-s=\"2\"]').focus()")
    parts = "[...document.querySelectorAll('[data-s]')]"
    faded = f"{parts}.filter(part => getComputedStyle(part).opacity < 1).map(part => part.dataset.s)"
    assert set(browser.evaluate(faded)) == {"0", "1", "3"}
    browser.evaluate("document.querySelector('.filter').focus()")
    assert browser.evaluate(faded) == []


def test_focus_shows_the_errors_of_a_prediction(browser: Chromium) -> None:
    """The errors replace the mask of the tile in focus."""
    browser.evaluate("document.querySelector('.tile[tabindex]').focus()")
    opacity = "getComputedStyle(document.activeElement.querySelector('{}')).opacity"
    assert [browser.evaluate(opacity.format(part)) for part in (".errors", ".mask")] == ["1", "0"]


@pytest.mark.parametrize("width", [390, 600, 1200])
def test_the_body_never_scrolls_sideways(browser: Chromium, page: Path, width: int) -> None:
    """On a phone, at the border between drawings, and on a desk, only tables scroll in their own box; one drawing is shown."""
    browser.open(page, width)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    visible = "document.querySelectorAll('.{}').length && document.querySelector('.{}').offsetParent !== null"
    shown = [browser.evaluate(visible.format(name, name)) for name in ("wide", "narrow")]
    assert shown == [width > 600, width <= 600]


def test_a_long_name_breaks_in_a_legend(browser: Chromium, tmp_path: Path) -> None:
    """A source whose name has no space in 200 characters does not make the page wider than a phone."""
    file = tmp_path / "report.html"
    file.write_text(study_page(Drawn({"source": ["random", f"supervised:{'x' * 200}"]}).records()), encoding="utf-8")
    browser.open(file, 390)
    assert browser.evaluate("document.documentElement.scrollWidth") == 390


def test_the_page_prints_light_without_tools(browser: Chromium) -> None:
    """Printing gives a few pages, in light colours also for readers who prefer dark ones, without filters and folds."""
    browser.prefer("dark")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    browser.prefer("dark", "print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("[...document.querySelectorAll('.tools, details, nav')].every(part => part.offsetParent === null)")
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF")
    assert 1 <= pdf.count(b"/Type /Page\n") <= 6
