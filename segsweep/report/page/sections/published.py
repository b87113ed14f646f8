"""The section on published numbers."""

from segsweep.report.layout import heading, number
from segsweep.report.page.document import Section
from segsweep.report.page.figure import Numbers, scrolled_table
from segsweep.report.page.markup import element, markup
from segsweep.report.page.study_view import StudyView
from segsweep.report.published_comparison import beside_published

ENDING = "_published"


def published_section(view: StudyView) -> Section | None:
    """Return the results beside published numbers, and the differences in set-up; None without published numbers."""
    rows = beside_published(view.records)
    if rows.empty:
        return None
    published = view.records.study["published"]
    measures = [name.removesuffix(ENDING) for name in rows.columns if name.endswith(ENDING)]
    heads = [head for measure in measures for head in (heading(measure), "published")]
    shown = []
    for _, row in rows.iterrows():
        pairs = [(number(row[name], name), number(row[f"{name}{ENDING}"], name)) for name in measures]
        shown.append((str(row["run"]), *(value for pair in pairs for value in pair)))
    note = element("p", published["note"]) if published["note"] else None
    deviations = element("ul", (element("li", each) for each in published.get("deviations", ())))
    setup = (element("h3", "Differences in set-up"), deviations) if published.get("deviations") else None
    content = markup(scrolled_table(Numbers(("", *heads), tuple(shown))), note, setup)
    return Section("published", f"Beside the published numbers: {published['where']}", content)
