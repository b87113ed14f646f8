"""The section on what would decide the differences that are undecided."""

from collections.abc import Iterator

from segsweep.durations import readable_seconds
from segsweep.report.answer.questions import Difference, Question, Verdict
from segsweep.report.answer.sentences import count
from segsweep.report.page.document import Section
from segsweep.report.page.markup import Markup, element, markup
from segsweep.report.page.study_view import StudyView

SHOWN = 5  # the cheapest first
INTRODUCTION = (
    "With these numbers of seeds, an interval of the difference alone would leave out zero if the estimate stayed as it is. "
    "Differences that are not listed would need more than 30."
)


def proposals_section(view: StudyView) -> Section | None:
    """Return which undecided differences more seeds would decide; None if there are none."""
    found = sorted(_proposals(view), key=lambda pair: pair[0])[:SHOWN]
    if not found:
        return None
    items = element("ul", (element("li", *parts) for _, parts in found))
    return Section("next", "What would decide", markup(element("p", INTRODUCTION), items))


def _proposals(view: StudyView) -> Iterator[tuple[int, list[Markup | str]]]:
    """Yield the number of seeds for each undecided difference, and its line with the price and the setting."""
    setting = "source_seeds" if view.answer.models else "seeds"
    seconds = float(view.runs["seconds"].mean())
    for question in view.answer.questions:
        for each, needed in _undecided(question):
            more = needed - len(each.units)
            level, reference = (view.answer.level(question.axis, name) for name in (each.name, question.reference))
            price = readable_seconds(more * seconds * len(view.answer.cells))
            line = f"{level} against {reference}: {count(more, 'more seed')} per cell, about {price} of one device: "
            yield needed, [line, element("code", f"--set {setting}={needed}")]


def _undecided(question: Question) -> Iterator[tuple[Difference, int]]:
    for each in question.differences:
        if each.verdict is Verdict.UNDECIDED and each.units_needed is not None and each.units_needed > len(each.units):
            yield each, each.units_needed
