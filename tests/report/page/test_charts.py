"""Charts are described in words, hold their numbers as text and table, and stay within their size."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import page_samples as samples
import pytest
from parsed_markup import parsed, texts, with_class

from segsweep.report.page.curves import curves_figure
from segsweep.report.page.dots import dots_figure, draw_dots, front_of
from segsweep.report.page.drawing import NARROW, WIDE, shortened, spread, text_width
from segsweep.report.page.forest import ForestRow, draw_forest, forest_figure
from segsweep.report.page.lines import draw_lines, lines_figure
from segsweep.report.page.markup import Markup
from segsweep.report.page.rates import tuning_figure
from segsweep.report.page.score_bar import Score, bar_scale, score_bar
from segsweep.report.page.shares import draw_shares, shares_figure

FIGURES: dict[str, Callable[[], Markup]] = {
    "forest": lambda: forest_figure(samples.forest(), "caption"),
    "lines": lambda: lines_figure(samples.lines(), "caption"),
    "dots": lambda: dots_figure(samples.dots(), "caption"),
    "shares": lambda: shares_figure(samples.shares(), "caption"),
    "rates": lambda: tuning_figure(samples.tuning(), "caption"),
    "curves": lambda: curves_figure(samples.curves(), "caption"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_chart_has_a_description_and_a_table(name: str) -> None:
    """Each drawing is an image named by its title and by a description with numbers; a fold shows the numbers as a table."""
    root = parsed(FIGURES[name]())
    drawings = [node for node in root.iter("svg") if node.get("role") == "img"]
    assert drawings
    for drawing in drawings:
        named = [node for node in drawing if node.get("id") in drawing.get("aria-labelledby", "").split()]
        assert [node.tag for node in named] == ["title", "desc"]
        assert re.search(r"\d", texts(named[1]))
    details = root.find(".//details")
    assert details is not None
    assert details.findtext("summary") == "Show as table"
    assert len(details.findall(".//tbody/tr")) >= 1


@pytest.mark.parametrize("name", FIGURES)
def test_no_chart_has_a_colour_of_its_own(name: str) -> None:
    """Colours come from the style sheet, so both themes hold; nothing refers to another file."""
    figure = FIGURES[name]()
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb\(|style=", figure.replace("url(#", ""))
    assert not re.search(r"https?:|src=|href=", figure)
    assert "<script" not in figure


@pytest.mark.parametrize("name", ["forest", "lines", "dots", "shares"])
def test_wide_and_narrow_screens_get_their_own_drawing(name: str) -> None:
    """A figure has a drawing of 640 and one of 360 units, each with its own ids."""
    root = parsed(FIGURES[name]())
    boxes = [node.get("viewBox", "").split()[2] for node in root.iter("svg") if node.get("role") == "img"]
    assert boxes == [str(WIDE), str(NARROW)]
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("rows", "most"), [(36, 12_000), (200, 70_000)])
def test_a_forest_of_many_cells_is_small(rows: int, most: int) -> None:
    """A drawing of 36 rows takes 12 kB at most, one of 200 rows 70 kB."""
    assert len(draw_forest(samples.forest(rows), WIDE).encode()) <= most


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_forest_includes_its_intervals_and_fills_sure_rows(width: int) -> None:
    """No line leaves the plot; only rows whose interval for all together leaves out zero are filled."""
    root = parsed(draw_forest(samples.forest(), width))
    rows = [node for node in root.iter("g") if node.get("tabindex") == "0"]
    for path in with_class(root, "t"):
        left, right = map(float, re.findall(r"M(\d+) -?\d+H(\d+)", path.get("d", ""))[0])
        assert 0 < left < right < width
    assert ["hollow" in (row.find("circle").get("class") or "") for row in rows] == [False, True, False]  # type: ignore[union-attr]
    assert texts(rows[0].find("title")) == "alone −5.0 to −3.0; together −5.5 to −2.5"  # type: ignore[arg-type]
    assert "−4.0 [−5.5, −2.5]" in texts(rows[0])


def test_a_forest_shows_what_is_missing() -> None:
    """A row without an estimate says why; an open interval ends at the edge; a long label is shortened and told in full."""
    nan = (math.nan, math.nan)
    odd = (
        ForestRow("failed", math.nan, nan, nan, note="no confirmed run"),
        ForestRow("open", 2.0, (1.0, 3.0), (-math.inf, math.inf)),
        ForestRow("one seed", 1.0, nan, nan),
        ForestRow("x" * 300, 3.0, (2.0, 4.0), (1.0, 5.0)),
    )
    shown = texts(parsed(draw_forest(replace(samples.forest(), rows=odd), NARROW)))
    assert "no confirmed run" in shown
    assert "together unlimited" in shown
    assert "alone unknown" in shown
    assert "…" in shown
    assert "x" * 300 in shown


def test_sources_have_a_marker_a_name_and_a_number_to_highlight() -> None:
    """A source is never a colour alone: its line carries a marker of its own shape and its name."""
    root = parsed(draw_lines(samples.lines(), WIDE))
    shapes = {node.get("d") for node in with_class(root, "m")}
    assert len(shapes) == len(samples.SOURCES)
    assert {node.get("data-s") for node in root.iter("g") if node.get("data-s")} == {"0", "1", "2", "3"}
    assert all(name in texts(root) for name in samples.SOURCES)


def test_the_front_holds_what_no_cheaper_cell_reaches() -> None:
    """The dominated cell is not on the front; hollow points are those with something frozen."""
    dots = samples.dots()
    assert [dot.x for dot in front_of(dots.dots)] == [0.1, 0.2, 0.8]
    root = parsed(draw_dots(dots, WIDE))
    assert len(with_class(root, "front")) == 1
    assert len(with_class(root, "hollow")) == 1


def test_bars_are_in_proportion_and_noise_is_hatched() -> None:
    """Bars have one scale; the last one's fill is the pattern of its own drawing."""
    root = parsed(draw_shares(samples.shares(), WIDE))
    bars = with_class(root, "b")
    widths = [float(bar.get("width", "0")) for bar in bars]
    assert widths[2] / widths[0] == pytest.approx(0.396 / 0.6, abs=0.01)
    pattern = root.find(".//pattern")
    assert pattern is not None
    assert [bar.get("fill") for bar in bars] == [None, None, f"url(#{pattern.get('id')})"]
    assert "< 1 %" in texts(root)


def test_a_stopped_trial_is_hollow_and_joined_to_what_it_would_have_reached() -> None:
    """Its tooltip names the epoch and the expectation; the chosen one has a ring; an edge is stated."""
    root = parsed(tuning_figure(samples.tuning(), ""))
    assert len(with_class(root, "hollow")) == len(with_class(root, "dash")) == len(with_class(root, "chosen")) == 1
    assert "0.01: 40.0, stopped after epoch 3, expected 55.0" in texts(root)
    assert "at the edge" in texts(root)


def test_long_curves_are_thinned_to_what_can_be_seen() -> None:
    """A thousand epochs take hardly more than sixty, and end at the last one."""
    assert len(curves_figure(samples.curves(1000), "")) < 1.3 * len(curves_figure(samples.curves(60), ""))


def test_a_bar_needs_no_interval() -> None:
    """A cell with one seed has a point and no line; without finite numbers there is no scale."""
    scale = bar_scale([samples.unknown_score(), Score(60.0, (55.0, 65.0))])
    assert scale is not None
    bar = parsed(score_bar(samples.unknown_score(), scale))
    assert not with_class(bar, "a")
    assert bar.find(".//circle") is not None
    assert bar_scale([]) is None


def test_text_fits_and_labels_keep_apart() -> None:
    """Shortened text fits its room and keeps both ends; labels are apart, in order, and inside their room."""
    name = "supervised:generated_middle@240+finetuned"
    short = shortened(name, 120)
    assert text_width(short) <= 120
    assert name.startswith(short.split("…")[0])
    assert name.endswith(short.split("…")[1])
    placed = spread([50.0, 51.0, 10.0, 99.0], 16, 0, 100)
    assert sorted(placed) == [placed[2], placed[0], placed[1], placed[3]]
    assert all(second - first >= 16 for first, second in pairwise(sorted(placed)))
    assert 0 <= min(placed) <= max(placed) <= 100
