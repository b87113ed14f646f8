"""The section on what would decide the differences that are undecided."""

from segsweep.report.answer.next_runs import next_lines, next_runs
from segsweep.report.answer.words import capital, unit_text
from segsweep.report.page.document import Section
from segsweep.report.page.markup import element
from segsweep.report.page.study_view import StudyView


def proposals_section(view: StudyView) -> Section | None:
    """Return which undecided differences more seeds would decide, the cheapest first; None if there are none."""
    lines = next_lines(next_runs(view.records, view.answer), unit_text(view.answer))
    if not lines:
        return None
    return Section("next", "What would decide", element("ul", (element("li", capital(line)) for line in lines)))
