"""The page of a study: one self-contained HTML document with the answer, and all that it rests on."""

from collections.abc import Iterator
from pathlib import Path

from segsweep.records.schema import FINAL
from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer, answer_of
from segsweep.report.answer.sentences import sentences
from segsweep.report.not_started import budget_line
from segsweep.report.page.document import Section, document
from segsweep.report.page.markup import Markup, element
from segsweep.report.page.sections.cells import cells_section
from segsweep.report.page.sections.clips import clips_section
from segsweep.report.page.sections.confusion import confusion_section
from segsweep.report.page.sections.cost import cost_section
from segsweep.report.page.sections.coverage import coverage_section
from segsweep.report.page.sections.curves import curves_section
from segsweep.report.page.sections.data_size import data_section
from segsweep.report.page.sections.images import images_section
from segsweep.report.page.sections.importance import importance_section
from segsweep.report.page.sections.proposals import proposals_section
from segsweep.report.page.sections.published import published_section
from segsweep.report.page.sections.questions import question_sections
from segsweep.report.page.sections.reproduction import reproduction_section
from segsweep.report.page.sections.scores import scores_section
from segsweep.report.page.sections.search import search_section
from segsweep.report.page.sections.shift import shift_section
from segsweep.report.page.sections.sources import sources_section
from segsweep.report.page.sections.tuning import tuning_section
from segsweep.report.page.study_view import StudyView


def study_page(records: Records, store: str | Path | None = None, answer: Answer | None = None) -> Markup:
    """Return the page of a study, also of one that still runs. Sections without data are left out.

    Args:
        records: The study's records.
        store: Location of the store with models and data, for the section with images; None leaves it out.
        answer: The answer of the records; None computes it.
    """
    view = StudyView(records, answer or answer_of(records))
    question = records.study.get("question") if view.answer.search is None else None  # a search does not answer that of a grid
    title = str(question or records.study["name"])
    sections = [section for section in _sections(view, store) if section is not None]
    return document(title, _head(view, title), sections)


def _sections(view: StudyView, store: str | Path | None) -> Iterator[Section | None]:
    yield cells_section(view)
    is_grid = view.answer.search is None
    yield search_section(view)
    if view.answer.confirmed:
        if is_grid:  # the cells of a search are not matched, and each was tuned with another number of trials
            yield from question_sections(view)
            yield data_section(view)
            yield importance_section(view)
        yield cost_section(view)
        yield scores_section(view) if is_grid else None
    yield sources_section(view)
    yield tuning_section(view) if is_grid else None
    if view.answer.confirmed:
        yield curves_section(view)
        yield confusion_section(view)
        yield images_section(view, store) if store is not None else None
        yield clips_section(view)
    yield shift_section(view, store)
    yield published_section(view)
    yield coverage_section(view)
    yield reproduction_section(view)
    yield proposals_section(view)


def _head(view: StudyView, title: str) -> list[Markup | None]:
    """Return the sentences of the answer, and the study's status if work is left."""
    study = view.records.study
    name = f"{study['name']}, target {study['target']['name']}" if title != study["name"] else f"target {study['target']['name']}"
    answer = element("div", (element("p", sentence) for sentence in sentences(view.answer)), class_="answer")
    return [element("p", name, class_="mute"), answer, _status(view)]


def _status(view: StudyView) -> Markup | None:
    trials = view.records.trials
    if trials["status"].isin(FINAL).all():
        return None
    if (left_out := budget_line(view.records)) is not None:
        return element("p", left_out, class_="status", role="status")
    cells = view.answer.cells
    confirmed = sum(len(cell.units) >= view.answer.units_planned for cell in cells)
    return element("p", f"{confirmed} of {len(cells)} cells confirmed; what follows may change.", class_="status", role="status")
