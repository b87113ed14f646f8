"""Figures of an answer show its estimates, its intervals and its verdicts, and nothing that it does not support."""

import numpy as np
import pytest
from drawn_study import Drawn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segsweep.report.answer.answer import Answer, answer_of
from segsweep.report.answer.questions import Verdict
from segsweep.report.figures import (
    differences_figure,
    draw_by_images,
    draw_differences,
    draw_scores,
    images_figure,
    looks,
    scores_by_images,
    scores_figure,
)

SOURCES = {"source": ["random", "supervised:near", "supervised:far"], "freeze": ["none", "encoder"]}
NEAR, RANDOM = "source=supervised:near freeze=none", "source=random freeze=none"


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


@pytest.fixture(scope="module")
def gains() -> Answer:
    """A source that gains only with nothing frozen."""
    return answer_of(Drawn(SOURCES, {NEAR: 0.7}).records())


def segments(ax: Axes) -> list[tuple[float, float, float, float]]:
    """Return (row, low, high, line width) of every horizontal line."""
    found = [(each.get_segments()[0], each.get_linewidth()[0]) for each in ax.collections]
    return [(float(ends[0, 1]), float(ends[0, 0]), float(ends[1, 0]), float(width)) for ends, width in found]


def points(ax: Axes) -> list[tuple[float, bool]]:
    """Return (value, whether it is filled) of every point."""
    lines = [line for line in ax.get_lines() if line.get_marker() == "o"]
    return [(float(line.get_xdata()[0]), line.get_markerfacecolor() == line.get_color()) for line in lines]


def ticks(ax: Axes) -> list[list[float]]:
    return [list(map(float, line.get_xdata())) for line in ax.get_lines() if line.get_marker() == "|"]


def test_a_difference_has_both_intervals_its_seeds_and_its_verdict(gains: Answer, ax: Axes) -> None:
    """The light bar is the simultaneous interval, the line its own; a point is filled for a gain; values are points."""
    question = gains.questions[0]
    draw_differences(ax, question, gains.level_labels["source"], 0.01)
    near, far = question.differences
    assert (near.verdict, far.verdict) == (Verdict.GAIN, Verdict.UNDECIDED)
    assert points(ax) == [(pytest.approx(100 * near.estimate), True), (pytest.approx(100 * far.estimate), False)]
    for row, difference in enumerate(question.differences):
        together, own = (each for each in segments(ax) if each[0] == row)
        assert together[1:3] == pytest.approx([100 * end for end in difference.interval])
        assert own[2] - own[1] == pytest.approx(200 * difference.half)
        assert own[3] < together[3]
        assert ticks(ax)[row] == pytest.approx([100 * value for value in difference.per_unit])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["near", "far"]
    assert [text.get_text().split()[-1] for text in ax.texts] == ["gain", "undecided"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    (band,) = ax.patches
    assert (band.get_x(), band.get_width()) == (-1, 2)


def test_one_seed_has_no_verdict(ax: Axes) -> None:
    """There is one interval, that of the trained models; no point is filled and no word is beside it."""
    answer = answer_of(Drawn(SOURCES, {NEAR: 0.9}, seeds=1).records())
    draw_differences(ax, answer.questions[0], answer.level_labels["source"], 0.01)
    assert len(segments(ax)) == len(answer.questions[0].differences)
    assert [filled for _, filled in points(ax)] == [False, False]
    assert all(text.get_text().endswith("]") for text in ax.texts)
    figure = differences_figure(answer)
    assert figure
    assert not any("filled" in text.get_text() or "together" in text.get_text() for text in figure.legends[0].get_texts())
    assert any("these trained models only" in text.get_text() for text in figure.legends[0].get_texts())


def test_a_question_that_depends_on_another_axis_is_followed_by_its_strata(gains: Answer) -> None:
    """Each level of that axis has a panel; a question that does not surely depend on another has one."""
    figure = differences_figure(gains)
    assert figure
    assert [ax.get_title(loc="left") for ax in figure.axes][:3] == [
        "Against random weights, averaged over freeze",
        "Against random weights with nothing frozen",
        "Against random weights with encoder frozen",
    ]
    equal = differences_figure(answer_of(Drawn(SOURCES).records()))
    assert equal
    assert len(equal.axes) == 2


def test_the_score_of_a_cell_is_filled_if_it_may_be_the_best(gains: Answer, ax: Axes) -> None:
    """Lines are the intervals, ticks the seeds; with one seed nothing is filled."""
    draw_scores(ax, gains)
    assert [filled for _, filled in points(ax)] == [cell.cell == NEAR for cell in gains.cells]
    assert [ends[1:3] for ends in segments(ax)] == [
        (pytest.approx(100 * cell.interval[0]), pytest.approx(100 * cell.interval[1])) for cell in gains.cells
    ]
    assert all(len(values) == 3 for values in ticks(ax))
    (chosen,) = (text.get_text() for text in ax.get_yticklabels() if text.get_text().endswith("*"))
    assert chosen == "near, nothing frozen *"
    single = Figure().subplots()
    draw_scores(single, answer_of(Drawn(SOURCES, {NEAR: 0.9}, seeds=1).records()))
    assert not any(filled for _, filled in points(single))


def test_long_names_leave_room_for_the_plot(gains: Answer) -> None:
    """The names of the rows widen the figure instead of narrowing the plot."""
    long = answer_of(Drawn({"source": ["random", "supervised:" + 80 * "x"]}).records())
    widths = []
    for answer in (gains, long):
        figure = scores_figure(answer)
        assert figure
        figure.draw_without_rendering()
        widths.append(figure.axes[0].get_window_extent().width / figure.dpi)
    assert min(widths) > 4


def test_lines_against_images_have_the_intervals_of_the_cells(ax: Axes) -> None:
    """A line per source joins its cells in ascending order of images; bars are 95 % intervals; ticks name the numbers."""
    records = Drawn({"source": ["random", "supervised:near"], "fraction": [1.0, 0.25]}).records()
    records.trials["train_images"] = (records.trials["fraction"] * 80).astype(int)
    answer = answer_of(records)
    rows = scores_by_images(records, answer)
    draw_by_images(ax, rows, looks(rows["line"]))
    (bars,) = ax.containers[0].lines[2]
    by_cell = {cell.cell: cell for cell in answer.cells}
    ends = [by_cell[f"source=random fraction={fraction}"].interval for fraction in (0.25, 1.0)]
    assert np.array([segment[:, 1] for segment in bars.get_segments()]) == pytest.approx(100 * np.array(ends))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["20", "80"]
    figure = images_figure(records, answer)
    assert figure
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["random weights", "near"]


def test_without_runs_there_is_no_figure() -> None:
    """The caller gets None, and can write a sentence instead."""
    missing = {(cell, seed) for cell in Drawn(SOURCES).cells() for seed in (1, 2, 3)}
    records = Drawn(SOURCES, missing=missing).records()
    answer = answer_of(records)
    assert (scores_figure(answer), differences_figure(answer), images_figure(records, answer)) == (None, None, None)
