"""The section on what the intervals cover, and how the numbers were measured."""

from segsweep.report.answer.sentences import limits_sentence
from segsweep.report.comparison import comparison_lines
from segsweep.report.method import method_lines, protocol_lines
from segsweep.report.page.document import Section
from segsweep.report.page.figure import paragraphs
from segsweep.report.page.study_view import StudyView


def coverage_section(view: StudyView) -> Section:
    """Return what the intervals cover and leave out, the terms of the comparison, and the protocol of the measures."""
    absent = view.runs[["absent_classes", "test_images"]].dropna().drop_duplicates().itertuples(index=False)
    limits = [limits_sentence(view.answer)] if view.answer.confirmed else []
    unseen = [f"None of the {count} test images shows {names}: its IoU is undefined." for names, count in absent]
    protocol = " ".join(protocol_lines(view.records))
    lines = [*limits, *method_lines(view.records), *comparison_lines(view.records), protocol, *unseen]
    return Section("coverage", "What the intervals cover, and what not", paragraphs(lines))
