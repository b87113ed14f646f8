"""The section on what the intervals cover, and how the numbers were measured."""

from segsweep.report.answer.limits import limits_sentence
from segsweep.report.comparison import comparison_lines
from segsweep.report.method import absent_lines, method_lines, protocol_line
from segsweep.report.page.document import Section
from segsweep.report.page.figure import paragraphs
from segsweep.report.page.study_view import StudyView


def coverage_section(view: StudyView) -> Section:
    """Return what the intervals cover and leave out, the terms of the comparison, and the protocol of the measures."""
    limits = [limits_sentence(view.answer)] if view.answer.confirmed else []
    protocol = protocol_line(view.records)
    lines = [*limits, *method_lines(view.records), *comparison_lines(view.records), protocol, *absent_lines(view.records)]
    return Section("coverage", "What the intervals cover, and what not", paragraphs(lines))
