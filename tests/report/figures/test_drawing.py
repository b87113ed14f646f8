"""Building blocks of figures: a distinct look per name, a point per run, the first row at the top."""

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segsweep.report.figures import draw_curves, draw_rows, looks, panels, scale_losses, scale_rates

RUNS = pd.DataFrame(
    {
        "source": ["random", "random", "city", "city"],
        "fraction": [0.5, 1.0, 0.5, 1.0],
        "test_iou": [0.2, 0.4, 0.3, float("nan")],
    }
)


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def test_names_have_distinct_and_stable_looks() -> None:
    """Ten names have ten colours and ten markers; further names repeat them."""
    styles = looks(f"source {number}" for number in (*range(12), 3))
    assert len(styles) == 12
    assert len({(look["color"], look["marker"]) for look in styles.values()}) == 10
    assert styles["source 3"] == looks(f"source {number}" for number in range(4))["source 3"]


def test_every_title_with_rows_has_a_panel() -> None:
    """Panels follow the order of the cells; a cell without a row has no panel; labels are only at the outer panels."""
    titles = {"a": "none\nema none", "b": "none\nema 0.9", "c": "encoder\nema none", "d": "norm\nema none"}
    rows = pd.DataFrame({"cell": ["a", "b", "b", "c"], "run": [1, 2, 3, 4]})
    figure, parts = panels(titles, rows, ("epoch", "loss"))
    assert [(ax.get_title(), list(part["run"])) for ax, part in parts] == [
        ("none\nema none", [1]),
        ("none\nema 0.9", [2, 3]),
        ("encoder\nema none", [4]),
    ]
    figure.draw_without_rendering()
    named = [any(tick.get_visible() and tick.get_text() for tick in ax.get_xticklabels()) for ax, _ in parts]
    assert named == [bool(ax.get_xlabel()) for ax, _ in parts] == [False, True, True]  # no panel is below the second one
    assert [bool(ax.get_ylabel()) for ax, _ in parts] == [True, False, True]


def test_without_titles_there_is_one_panel() -> None:
    """It has all rows, and no title."""
    _, ((ax, part),) = panels({"c": "", "d": ""}, pd.DataFrame({"cell": ["c", "d"]}), ("", ""))
    assert (len(part), ax.get_title()) == (2, "")


@pytest.mark.parametrize(("rates", "named"), [((2e-4, 9e-3), "0.0005"), ((1e-5, 1e-2), "0.0001")])
def test_labels_of_rates_do_not_overlap(rates: tuple[float, float], named: str, ax: Axes) -> None:
    """Few decades have labels between powers of ten, many have not; minor ticks have no label."""
    ax.plot(rates, [0, 1])
    scale_rates(ax)
    ax.figure.draw_without_rendering()
    texts = [text.get_text() for text in ax.get_xticklabels()]
    assert named in texts
    assert len(texts) <= 9
    assert {text.get_text() for text in ax.get_xticklabels(minor=True)} <= {""}


def test_rows_show_every_run_and_the_published_number(ax: Axes) -> None:
    """The first row is at the top; a row without a run still has its diamond."""
    draw_rows(ax, RUNS, "source", "test_iou", {"random": 0.9, "elsewhere": 0.8})
    assert [text.get_text() for text in ax.get_yticklabels()] == ["random", "city", "elsewhere"]
    bottom, top = ax.get_ylim()
    assert bottom > top
    points = [list(line.get_xdata()) for line in ax.get_lines() if line.get_marker() == "o"]
    assert points == [[0.2, 0.4], [0.3], []]
    (diamonds,) = [line for line in ax.get_lines() if line.get_marker() == "D"]
    assert (list(diamonds.get_xdata()), list(diamonds.get_ydata())) == ([0.9, 0.8], [0, 2])


def test_a_curve_is_the_mean_with_a_band_over_runs(ax: Axes) -> None:
    """The band reaches from the minimum to the maximum."""
    epochs = pd.DataFrame({"epoch": [1, 1, 2, 2], "val_iou": [0.1, 0.3, 0.5, 0.7], "run": "a"})
    draw_curves(ax, epochs, "val_iou", "run", looks(["a"]))
    assert list(ax.get_lines()[0].get_ydata()) == pytest.approx([0.2, 0.6])
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.1, 0.7))


def test_losses_over_decades_have_a_logarithmic_axis_with_plain_numbers() -> None:
    """Losses that are close together keep a linear axis; shared axes count together."""
    left, right = Figure().subplots(1, 2, sharey=True)
    left.plot([1, 2], [1.05, 1.35])
    scale_losses(left)
    assert left.get_yscale() == "linear"
    right.plot([1, 2], [0.3, 300.0])
    scale_losses(left)
    assert left.get_yscale() == right.get_yscale() == "log"
    left.figure.draw_without_rendering()
    assert "100" in [text.get_text() for text in left.get_yticklabels()]
