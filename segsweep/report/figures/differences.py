"""Figures of the questions of an answer: the differences to a reference level, with their intervals."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from segsweep.report.answer.answer import Answer
from segsweep.report.answer.questions import Difference, Question, Verdict
from segsweep.report.answer.words import matters_text, measure_text, points
from segsweep.report.figures.looks import COLOURS, GREY, legend_below
from segsweep.report.figures.panels import name_rows, width_of_rows
from segsweep.report.further_questions import CELL

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERDICT_COLOURS = {Verdict.GAIN: COLOURS[0], Verdict.LOSS: COLOURS[1]}  # all others are grey
BAND = "#d9d9d9"
ROW, FRAME = 0.42, 1.0  # inches: height of a row, and of what surrounds the rows of a panel
BELOW_ROW = 0.3  # distance of the seeds' ticks from the middle of their row


def differences_figure(answer: Answer, asked: Sequence[Question] | None = None) -> "Figure | None":
    """Return a figure with one panel per question, None if there is no question; see `draw_differences` for the marks.

    By default the questions are those of the answer. Below a question whose effect depends on another axis, the same question at
    every level of that axis follows.
    """
    from matplotlib.figure import Figure

    shown = [each for question in (answer.questions if asked is None else asked) for each in with_strata(question)]
    if not shown:
        return None
    heights = [ROW * len(question.differences) + FRAME for question in shown]
    width = width_of_rows(labels_of(answer, question.axis)[each.name] for question in shown for each in question.differences)
    figure = Figure(figsize=(width, sum(heights) + 0.8), layout="constrained")
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for ax, question in zip(axes, shown, strict=True):
        draw_differences(ax, question, labels_of(answer, question.axis), answer.matters)
        ax.set_title(title(answer, question), fontsize="medium", loc="left")
        ax.tick_params(labelbottom=True)
    axes[-1].set_xlabel(f"difference in test {measure_text(answer)}, points")
    legend_below(figure, {}, _key(answer), columns=2)
    return figure


def with_strata(question: Question) -> list[Question]:
    """Return a question and, for every axis on which its effect surely depends, the question at every level of that axis."""
    return [question, *(stratum for each in question.dependences if each.sure for stratum in each.strata)]


def labels_of(answer: Answer, axis: str) -> Mapping[str, str]:
    """Return the labels of the levels of an axis; those of cells for the axis `cell`."""
    return {cell.cell: cell.label for cell in answer.cells} if axis == CELL else answer.level_labels[axis]


def title(answer: Answer, question: Question) -> str:
    """Return what a question compares: its reference level, its stratum, and the axes over which it is an average."""
    inside = ", ".join(answer.level(axis, level) for axis, level in {**question.held, **question.stratum}.items())
    over = ", ".join(axis.replace("_", " ") for axis in question.over)
    against = f"Against {labels_of(answer, question.axis)[question.reference]}"
    return f"{against}{f' with {inside}' if inside else ''}{f', averaged over {over}' if over else ''}"


def draw_differences(ax: "Axes", question: Question, labels: Mapping[str, str], matters: float) -> None:
    """Draw one row per difference of a question, in points of the measure, the first row at the top.

    The light bar is the interval that holds together with all others of the question; the dark line is the difference's own 95 %
    interval. A tick is the difference of one unit (a seed, or a source model). The point is filled where the verdict is a gain or
    a loss. The band covers differences that do not matter. `labels` are the labels of the levels; `matters` is the least
    difference that matters, as a share of the measure.
    """
    ax.axvspan(-100 * matters, 100 * matters, color=BAND, alpha=0.6, linewidth=0, zorder=0)
    ax.axvline(0, color="black", linewidth=1, zorder=1)
    for row, difference in enumerate(question.differences):
        decided = difference.verdict in VERDICT_COLOURS
        colour = VERDICT_COLOURS.get(difference.verdict, GREY)
        middle, own, together = (100 * value for value in (difference.estimate, difference.half, difference.half_together))
        if difference.verdict is not Verdict.NONE:
            ax.hlines(row, middle - together, middle + together, color=colour, alpha=0.35, linewidth=9, zorder=2)
        ax.hlines(row, middle - own, middle + own, color=colour, linewidth=2, zorder=3)
        ax.plot(middle, row, "o", color=colour, markerfacecolor=colour if decided else "white", markersize=7, zorder=4)
        of_units = [100 * value for value in difference.per_unit]
        ax.plot(of_units, [row + BELOW_ROW] * len(of_units), "|", color="black", markersize=6, zorder=3)
        ax.text(1.01, row, _numbers(difference), transform=ax.get_yaxis_transform(), va="center", fontsize="small")
    name_rows(ax, [labels.get(difference.name, difference.name) for difference in question.differences])


def _numbers(difference: Difference) -> str:
    """Return a difference with the interval on which its verdict rests, and the verdict."""
    with_verdict = difference.verdict is not Verdict.NONE
    half = difference.half_together if with_verdict else difference.half
    low, high = difference.estimate - half, difference.estimate + half
    text = f"{points(difference.estimate, True)} [{points(low, True)}, {points(high, True)}]"
    return f"{text} {difference.verdict}" if with_verdict else text


def _key(answer: Answer) -> list["Artist"]:
    """Return the entries of the legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    covers = "" if answer.covers_seeds else ", these trained models only"
    own = Line2D([], [], color=GREY, linewidth=2, marker="o", markerfacecolor="white", label=f"its own 95 % interval{covers}")
    unit = Line2D([], [], color="black", marker="|", linestyle="", label="a source model" if answer.models else "a seed")
    band = Patch(color=BAND, label=f"less than {matters_text(answer)}")
    if not answer.decides:
        return [own, unit, band]
    return [
        own,
        Patch(color=GREY, alpha=0.35, label="95 % for all rows of the panel together (the numbers)"),
        Line2D([], [], color=COLOURS[0], marker="o", linestyle="", label="filled: a gain or a loss"),
        unit,
        band,
    ]
