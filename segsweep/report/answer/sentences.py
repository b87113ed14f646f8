"""The sentences of an answer. None claims more than the simultaneous intervals allow.

Every answer has three: which cells may be the best, what the levels of the first compared axis gain, and what limits both.
"""

from collections.abc import Sequence
from math import sqrt

from segsweep.report.answer.answer import Answer
from segsweep.report.answer.limits import limits_sentence
from segsweep.report.answer.questions import Dependence, Difference, Question, Verdict
from segsweep.report.answer.words import (
    NAMED,
    capital,
    count,
    difference_text,
    folds_covered,
    joined,
    listed,
    matters_text,
    measure_text,
    points,
    score_text,
    signed_text,
    unit_text,
    units_text,
)
from segsweep.report.cells import follows_source
from segsweep.report.search import search_sentence

NORMAL = 1.959964  # the 97.5 % quantile of the normal distribution


def sentences(answer: Answer) -> list[str]:
    """Return the sentences of an answer: the course of a search, best cells, first question, limits.

    Without scores, a sentence states this instead.
    """
    found = [search_sentence(answer.search)] if answer.search is not None else []
    if not answer.confirmed:
        return [*found, answer.unscored]
    found.append(best_sentence(answer))
    if answer.questions:
        found.append(question_sentence(answer, answer.questions[0]))
    return [*found, limits_sentence(answer)]


def best_sentence(answer: Answer) -> str:
    """Return the sentence on the cell that validation chooses and on the cells that may be the best."""
    chosen = answer.cell(answer.chosen) if answer.chosen else answer.confirmed[0]
    others = len(answer.confirmed) - 1
    measured = (
        f"test {measure_text(answer)} {score_text(chosen)} on {count(answer.images, 'test image')} "
        f"with {units_text(answer, chosen)}"
    )
    if not others:
        return f"{capital(chosen.label)} has {measured}."
    if not answer.decides:
        return f"{capital(chosen.label)}, chosen by validation, has {measured}; {_undecided_reason(answer)}"
    rest = [cell.label for cell in sorted(answer.best, key=lambda cell: -cell.estimate) if cell is not chosen]
    if chosen.beaten_by is None and not rest:
        return f"{capital(chosen.label)} is best: {measured}; {_others(answer)} lower."
    if not others - len(rest) and chosen.beaten_by is None:
        low, high = min(cell.estimate for cell in answer.confirmed), max(cell.estimate for cell in answer.confirmed)
        return (
            f"No {_cell(answer)} is shown to be worse than another, at test {measure_text(answer)} from {points(low)} to "
            f"{points(high)}; {chosen.label}, best by validation, has {measured.removeprefix('test ')}."
        )
    opening = f"{capital(chosen.label)}, best by validation, has {measured}"
    if chosen.beaten_by is None:
        return f"{opening}; {len(rest)} of the other {others} {_cell(answer)}s may be as good or better: {listed(rest)}."
    if len(rest) == 1:
        return f"{opening}, but {rest[0]} scores higher than it and than every other {_cell(answer)}."
    return (
        f"{opening}, but {answer.cell(chosen.beaten_by).label} scores higher; the best cell is among {len(rest)}: {listed(rest)}."
    )


def _others(answer: Answer) -> str:
    """Return the subject of the clause on all other cells; of a part of the cells, if some have no finished run."""
    others = len(answer.confirmed) - 1
    finished = " with finished runs" if len(answer.confirmed) < len(answer.cells) else ""
    cell = _cell(answer)
    return f"the other {cell}{finished} scores" if others == 1 else f"each of the other {others} {cell}s{finished} scores"


def _cell(answer: Answer) -> str:
    """Return what a cell with a score is called: in a search, most cells have none."""
    return "cell" if answer.search is None else "confirmed cell"


def _undecided_reason(answer: Answer) -> str:
    if not answer.covers_images:
        return "one test image says nothing on other images."
    if not answer.covers_seeds:
        return f"one {unit_text(answer)} per cell says nothing on other {unit_text(answer)}s."
    return f"with {units_text(answer)}, {count(len(answer.confirmed), 'cell')} cannot be compared."


def question_sentence(answer: Answer, question: Question) -> str:
    """Return the sentence on what the levels of an axis gain over its reference level, averaged or in a stratum."""
    where = _where(answer, question)
    parts = [
        _group(answer, question.axis, [each for each in question.differences if each.verdict is verdict], verdict)
        for verdict in (Verdict.GAIN, Verdict.LOSS, Verdict.EQUAL, Verdict.UNDECIDED, Verdict.NONE)
    ]
    text = f"Against {answer.level(question.axis, question.reference)}{where}, {'; '.join(part for part in parts if part)}"
    lost = _unmatched(answer, question)
    return f"{text}{_suffix(answer, question)}{f'; {lost}' if lost else ''}."


def _where(answer: Answer, question: Question) -> str:
    """Return the clause on the stratum of a question, or on the axes and pairs over which it is an average."""
    inside = [answer.level(axis, level) for axis, level in {**question.held, **question.stratum}.items()]
    text = f" with {joined(inside, len(inside))}" if inside else ""
    pairs, planned = (sum(getattr(each, name) for each in question.differences) for name in ("pairs", "pairs_planned"))
    if question.over:
        text += f", averaged over {joined([axis.replace('_', ' ') for axis in question.over], len(question.over))}"
    return f"{text} ({pairs} of {planned} pairs of cells)" if pairs < planned else text


def _unmatched(answer: Answer, question: Question) -> str:
    """Return the part of a sentence on the levels of an axis without a pair of cells with scores; empty if there are none."""
    known = {question.reference, *(each.name for each in question.differences)}
    pairs, follows = answer.design.pairs(question.axis), follows_source(question.axis)
    lost = [level for level, of_level in pairs.items() if level not in known and (of_level or not follows)]
    names = [answer.level(question.axis, level) for level in lost]
    if not names or question.stratum:
        return ""
    return f"{joined(names[:NAMED], len(names))} {'has' if len(names) == 1 else 'have'} no matched pair of cells with scores"


def _group(answer: Answer, axis: str, differences: Sequence[Difference], verdict: Verdict) -> str:
    """Return the part of a sentence on the levels with one verdict; empty if there are none."""
    if not differences:
        return ""
    one, differences = len(differences) == 1, sorted(differences, key=lambda each: -abs(each.estimate))
    names = [answer.level(axis, each.name) for each in differences]
    if verdict in (Verdict.GAIN, Verdict.LOSS):
        verb = {Verdict.GAIN: "gains", Verdict.LOSS: "loses"}[verdict]
        shown = [f"{name} {verb} {difference_text(each)}" for name, each in zip(names[:NAMED], differences, strict=False)]
        return joined(shown, len(names), verb)
    low, high = min(each.interval[0] for each in differences), max(each.interval[1] for each in differences)
    if verdict is Verdict.EQUAL:
        return f"{joined(names[:NAMED], len(names))} {'makes' if one else 'make'} no difference of {matters_text(answer)} or more"
    if verdict is Verdict.UNDECIDED:
        verb = "is" if one else "are"
        between = f"between {points(low, True)} and {points(high, True)} points"
        return f"{joined(names[:NAMED], len(names))} {verb} undecided, {between}"
    models = "" if folds_covered(answer) or all(len(each.units) > 1 for each in differences) else " for these trained models"
    shown = [f"{name} differs by {signed_text(each)}" for name, each in zip(names[:NAMED], differences, strict=False)]
    return f"{joined(shown, len(names), 'differs')}{models}; {_break_even(answer, differences, names)}"


def _break_even(answer: Answer, differences: Sequence[Difference], names: Sequence[str]) -> str:
    """Return how large the scatter over seeds may be for the surest difference to exclude zero, for a study with one seed."""
    units = f"{unit_text(answer)}s"
    if not answer.covers_images:
        return "one test image decides no sign"
    if answer.covers_seeds:
        return f"so few {units} and cells decide no sign"
    margins = [(each.estimate / NORMAL) ** 2 - (each.half / NORMAL) ** 2 for each in differences]
    margin = max(margins)
    if margin <= 0:
        return f"even for these models {'the sign is' if len(names) == 1 else 'all signs are'} open"
    sign = "the sign" if len(names) == 1 else f"the sign for {names[margins.index(margin)]}"
    deviation = f"the difference's standard deviation over {units} is below {points(sqrt(margin))} points"
    return f"{sign} would hold for new {units} only if {deviation}"


def _suffix(answer: Answer, question: Question) -> str:
    """Return the clause on the axes on which the effect depends, or on the strata in which all verdicts agree."""
    sure = [dependence for dependence in question.dependences if dependence.sure]
    if sure:
        return f"; but it depends on {' and on '.join(_dependence_text(answer, each) for each in sure)}"
    strata = [stratum for dependence in question.dependences for stratum in dependence.strata]
    verdicts = {each.verdict for stratum in strata for each in stratum.differences} | {
        each.verdict for each in question.differences
    }
    if len(strata) > 1 and len(verdicts) == 1 and verdicts <= {Verdict.GAIN, Verdict.LOSS}:
        return f", and so in each of the {len(strata)} settings by itself"
    return ""


def _dependence_text(answer: Answer, dependence: Dependence) -> str:
    parts: list[str] = []
    name = _most_dependent(dependence)
    for stratum in dependence.strata:
        level = answer.level(dependence.axis, stratum.stratum[dependence.axis])
        shown = next((each for each in stratum.differences if each.name == name), None)
        subject = f", {answer.level(stratum.axis, name)}" if len(stratum.differences) > 1 else " it"
        parts += [f"with {level}{subject} {verdict_text(answer, shown)}"] if shown else []
    return f"{dependence.axis.replace('_', ' ')} ({listed(parts)})"


def _most_dependent(dependence: Dependence) -> str:
    """Return the level whose difference to the reference varies most between the strata."""
    estimates: dict[str, list[float]] = {}
    for stratum in dependence.strata:
        for each in stratum.differences:
            estimates.setdefault(each.name, []).append(each.estimate)
    return max(estimates, key=lambda name: max(estimates[name]) - min(estimates[name]))


def verdict_text(answer: Answer, difference: Difference) -> str:
    """Return what a difference supports, as the predicate of a sentence: `gains 3.1 points [1.2, 5.0]`."""
    if difference.verdict is Verdict.NONE:
        return f"differs by {signed_text(difference)} for these trained models"
    if difference.verdict is Verdict.GAIN:
        return f"gains {difference_text(difference)}"
    if difference.verdict is Verdict.LOSS:
        return f"loses {difference_text(difference)}"
    if difference.verdict is Verdict.EQUAL:
        return f"makes no difference of {matters_text(answer)} or more"
    low, high = difference.interval
    return f"is undecided, between {points(low, True)} and {points(high, True)} points"
