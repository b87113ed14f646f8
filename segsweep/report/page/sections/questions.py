"""The sections of the compared axes: what each level gains over the reference level, and whether that depends on other axes."""

import math
from collections.abc import Sequence
from dataclasses import replace

from segsweep.report.answer.limits import chance_text
from segsweep.report.answer.questions import Dependence, Difference, Question, Verdict
from segsweep.report.answer.sentences import question_sentence
from segsweep.report.answer.words import count, matters_text, points, unit_text
from segsweep.report.page.document import Section
from segsweep.report.page.forest import Forest, ForestRow, forest_figure
from segsweep.report.page.markup import Markup, element, markup
from segsweep.report.page.study_view import StudyView


def question_sections(view: StudyView) -> list[Section]:
    """Return a section per compared axis with at least two levels that have scores."""
    return [_section(view, question) for question in view.answer.questions]


def _section(view: StudyView, question: Question) -> Section:
    reference = view.answer.level(question.axis, question.reference)
    heading = f"{question.axis.replace('_', ' ').capitalize()}: gain over {reference}"
    averaged = f", averaged over {' and '.join(axis.replace('_', ' ') for axis in question.over)}" if question.over else ""
    title, unit, matters = f"Gain over {reference}{averaged}", f"points of {view.measure}", 100 * view.answer.matters
    forest = Forest(title, unit, tuple(_rows(view, question)), matters, decides=_decides([question]))
    sentence, figure = element("p", question_sentence(view.answer, question)), forest_figure(forest, _caption(view, forest))
    dependences = [_dependence(view, each) for each in question.dependences if each.sure]
    return Section(f"axis-{question.axis}", heading, markup(sentence, figure, dependences, _independence(question)))


def _rows(view: StudyView, question: Question) -> list[ForestRow]:
    return [_row(view, question, difference) for difference in question.differences]


def _decides(questions: Sequence[Question]) -> bool:
    return all(difference.verdict is not Verdict.NONE for question in questions for difference in question.differences)


def _row(view: StudyView, question: Question, difference: Difference) -> ForestRow:
    of_family = difference.half if difference.verdict is Verdict.NONE else difference.half_together
    estimate, half, together = (100 * value for value in (difference.estimate, difference.half, of_family))
    label = view.answer.level(question.axis, difference.name)
    missing = difference.units_planned - len(difference.units)
    if missing > 0:
        label += f" ({len(difference.units)} of {count(difference.units_planned, unit_text(view.answer))})"
    source = view.groups.get(difference.name) if question.axis == view.group_axis else None
    seeds = tuple(100 * value for value in difference.per_unit)
    return ForestRow(label, estimate, _ends(estimate, half), _ends(estimate, together), seeds, source)


def _ends(estimate: float, half: float) -> tuple[float, float]:
    return (estimate - half, estimate + half) if math.isfinite(half) else (math.nan, math.nan)


def _caption(view: StudyView, forest: Forest, families: int = 1) -> str:
    """Return the explanation of a forest whose rows make one family or several, whose intervals hold together within each."""
    if not forest.decides:
        if view.answer.covers_seeds:
            return f"Dashed: 95 % intervals over {chance_text(view.answer)}, which do not suffice for a verdict. Ticks: seeds."
        return "These trained models on new test images: the dashed 95 % intervals do not cover other seeds. Ticks: seeds."
    grey = f"Grey: differences below {matters_text(view.answer)}."
    if len(forest.rows) == families:
        return f"Line: 95 % interval over {chance_text(view.answer)}; ticks: seeds. Filled: the interval leaves out zero. {grey}"
    which = "all rows of one heading" if families > 1 else f"all {len(forest.rows)} rows"
    return (
        f"Thick line and numbers: 95 % intervals for {which} together; thin line: each row alone. "
        f"Ticks: seeds. Filled: the thick line leaves out zero. {grey}"
    )


def _dependence(view: StudyView, dependence: Dependence) -> Markup:
    """Return a forest with the question at every level of another axis on which the effect depends."""
    name, strata = dependence.axis.replace("_", " "), dependence.strata
    reference = view.answer.level(strata[0].axis, strata[0].reference)
    rows = [replace(row, group=_level(view, stratum)) for stratum in strata for row in _rows(view, stratum)]
    title = f"Gain over {reference} by {name}"
    if all(len(stratum.differences) == 1 for stratum in strata):
        title, rows = (
            f"Gain of {rows[0].label} over {reference} by {name}",
            [replace(row, label=row.group, group="") for row in rows],
        )
    forest = Forest(title, f"points of {view.measure}", tuple(rows), 100 * view.answer.matters, decides=_decides(strata))
    return markup(element("h3", f"It depends on {name}"), forest_figure(forest, _caption(view, forest, len(strata))))


def _level(view: StudyView, stratum: Question) -> str:
    return ", ".join(view.answer.level(axis, text) for axis, text in stratum.stratum.items())


def _independence(question: Question) -> Markup | None:
    """Return how far the effect may depend on the other axes; None if the seeds do not decide it."""
    found = [each for each in question.dependences if each.sure is False and math.isfinite(each.largest)]
    if not found:
        return None
    parts = [
        f"{each.axis.replace('_', ' ')} (up to {points(each.largest)} points between its levels are possible)" for each in found
    ]
    return element("p", f"No sign that it depends on {' or '.join(parts)}.")
