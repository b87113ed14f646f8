"""Two studies side by side as text."""

from collections.abc import Sequence
from textwrap import wrap

from segsweep.report.answer.answer import CellAnswer
from segsweep.report.answer.questions import Difference, Verdict
from segsweep.report.answer.two_studies import CellPair, TwoStudies
from segsweep.report.answer.words import count, difference_text, listed, matters_text, measure_text, points, signed_text
from segsweep.report.layout import FIT, INDENT, Column, fitted, number

WORDS = {Verdict.GAIN: "gain", Verdict.LOSS: "loss", Verdict.EQUAL: "equal", Verdict.UNDECIDED: "undecided", Verdict.NONE: ""}


def two_studies_text(studies: TwoStudies, names: tuple[str, str] | None = None) -> str:
    """Return two studies as text of at most 80 columns: what differs on average, the matched cells, and the differing set-up.

    Args:
        studies: The comparison.
        names: What to call the two studies, such as their folders; by default their names.
    """
    one, other = names or (studies.one.study, studies.other.study)
    lines = [*_wrapped(f"A: {one}"), *_wrapped(f"B: {other}"), "", *_wrapped(average_sentence(studies)), ""]
    if studies.pairs:
        table, dropped = fitted(_columns(studies))
        lines += [*table, "", *_wrapped(_key(studies, dropped))]
    for letter, rest in (("A", studies.only_one), ("B", studies.only_other)):
        if rest:
            lines += _wrapped(f"Only in {letter}: {listed([cell.label for cell in rest])}.")
    if studies.set_up:
        parts = [f"{name} {first} (A), {second} (B)" for name, (first, second) in studies.set_up.items()]
        lines += _wrapped(f"The set-up differs in {'; '.join(parts)}.")
    return "\n".join(lines)


def average_sentence(studies: TwoStudies) -> str:
    """Return the sentence on the mean difference over comparable cells, or on why there is none."""
    if not studies.pairs:
        return "No cell of A has the settings of a cell of B."
    found = studies.average
    if found is None:
        reasons = dict.fromkeys(pair.obstacle or "no seed in common" for pair in studies.pairs)
        return f"No difference is computed: {', '.join(reasons)}."
    over = f"averaged over {count(found.pairs, 'matched cell')}" if found.pairs > 1 else "in one matched cell"
    return f"{_verdict_sentence(found, studies)}, {over} with {count(len(found.units), _unit(studies))}."


def _verdict_sentence(found: Difference, studies: TwoStudies) -> str:
    if found.verdict is Verdict.GAIN:
        return f"B gains {difference_text(found)} over A"
    if found.verdict is Verdict.LOSS:
        return f"B loses {difference_text(found)} against A"
    if found.verdict is Verdict.EQUAL:
        return f"B makes no difference of {matters_text(studies.one)} or more to A"
    if found.verdict is Verdict.UNDECIDED:
        low, high = found.interval
        return f"The difference of B and A is undecided, between {points(low, True)} and {points(high, True)} points"
    if len(found.units) > 1:
        return f"B differs from A by {signed_text(found)}, without a verdict from so few {_unit(studies)}s and cells"
    return f"B differs from A by {signed_text(found)} for these trained models, which says nothing on other {_unit(studies)}s"


def _columns(studies: TwoStudies) -> list[Column]:
    """Return the columns of the table; those of a high priority number leave it first if it is too wide."""
    pairs, found = studies.pairs, [pair.difference for pair in studies.pairs]
    axes = [axis for axis in studies.axes if len({pair.levels[axis] for pair in pairs}) > 1] or studies.axes[:1]
    return [
        *(Column(axis, [pair.levels[axis] for pair in pairs], right=False) for axis in axes),
        Column("A", [number(pair.one.estimate) for pair in pairs]),
        Column("95 % of A", [_interval(pair.one) for pair in pairs], priority=4),
        Column("B", [number(pair.other.estimate) for pair in pairs]),
        Column("95 % of B", [_interval(pair.other) for pair in pairs], priority=3),
        Column("B - A", [points(each.estimate, True) if each else "" for each in found], priority=2),
        Column("together", [_ends(each) for each in found], priority=1),
        Column("verdict", [_word(pair) for pair in pairs], priority=1),
    ]


def _interval(cell: CellAnswer) -> str:
    low, high = cell.interval
    return f"{100 * low:.1f} to {100 * high:.1f}" if cell.half == cell.half else ""  # NaN without a finished run


def _ends(difference: Difference | None) -> str:
    return f"{points(difference.interval[0], True)} to {points(difference.interval[1], True)}" if difference else ""


def _word(pair: CellPair) -> str:
    return WORDS[pair.difference.verdict] if pair.difference else ""


def _key(studies: TwoStudies, dropped: Sequence[str]) -> str:
    """Return the legend of the table: measure, intervals, obstacles, and columns that did not fit."""
    parts = [f"Test {measure_text(studies.one)} in points of 100, means over confirmed runs"]
    if studies.average is not None:
        parts.append("together: interval of B - A that holds for all cells at once with 95 %, over paired seeds and test images")
    obstacles = dict.fromkeys(pair.obstacle for pair in studies.pairs if pair.obstacle)
    if obstacles and studies.average is not None:
        without = sum(pair.obstacle is not None for pair in studies.pairs)
        parts.append(f"{count(without, 'cell')} without a comparison: {', '.join(map(str, obstacles))}")
    if dropped:
        parts.append(f"left out to fit: {', '.join(sorted(dropped))}")
    return "; ".join(parts) + "."


def _unit(studies: TwoStudies) -> str:
    return "source model" if studies.one.models else "seed"


def _wrapped(text: str) -> list[str]:
    return wrap(text, FIT, subsequent_indent=INDENT)
