"""The section on the measures before and after fine-tuning."""

from segsweep.report.layout import heading, number
from segsweep.report.page.document import Section
from segsweep.report.page.figure import Numbers, paragraphs, scrolled_table
from segsweep.report.page.markup import markup
from segsweep.report.page.study_view import StudyView
from segsweep.report.sections import SHIFT
from segsweep.report.shift import shift_table

MEASURED = ("before_", "test_", "source_mean", "forgetting")


def shift_section(view: StudyView) -> Section | None:
    """Return the measures before and after fine-tuning; None for a study without `domain_shift`."""
    rows = shift_table(view.records)
    if rows.empty:
        return None
    names = [str(name) for name in rows.columns if str(name).startswith(MEASURED)]
    after = [name.startswith("test_") or name == "source_mean_iou_after" for name in names]
    heads = ["after" if late else heading(name) for name, late in zip(names, after, strict=True)]
    shown = [(view.label(str(row["cell"])), *(number(row[name]) for name in names)) for _, row in rows.iterrows()]
    table = scrolled_table(Numbers(("", *heads), tuple(shown)))
    return Section("shift", "Before and after fine-tuning", markup(table, paragraphs([" ".join(SHIFT)])))
