"""The section on the sources as they were trained."""

from segsweep.report.comparison import rate_lines
from segsweep.report.layout import heading, number, text
from segsweep.report.page.document import Section
from segsweep.report.page.figure import Numbers, paragraphs, scrolled_table
from segsweep.report.page.markup import markup
from segsweep.report.page.study_view import StudyView
from segsweep.report.sections import QUALITY_NOTES
from segsweep.report.sources import QUALITY, trained_sources


def sources_section(view: StudyView) -> Section | None:
    """Return the quality of the trained sources on their own held-out images; None without trained sources."""
    rows = trained_sources(view.records)
    if rows.empty:
        return None
    measured = [name for name in QUALITY if name in rows]
    plain = [str(name) for name in rows.columns if name not in measured]
    shown = [(*(text(row[name]) for name in plain), *(number(row[name]) for name in measured)) for _, row in rows.iterrows()]
    numbers = Numbers(tuple(heading(name) for name in (*plain, *measured)), tuple(shown))
    notes = [*(note for name, note in QUALITY_NOTES.items() if name in measured), *rate_lines(view.records)]
    return Section("sources", "Sources as trained", markup(scrolled_table(numbers), paragraphs(notes)))
