"""Questions beyond those of an answer: each cell against one cell, and each trained source against the weights it starts from."""

from collections.abc import Mapping, Sequence

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer
from segsweep.report.answer.matching import Design, design_of
from segsweep.report.answer.questions import Question, questions

CELL = "cell"  # axis of the question of single cells
SOURCE = "source"


def against_cell(answer: Answer, reference: str) -> list[Question]:
    """Return the question what every other cell gains over one cell; no question if that cell has no finished run.

    The axis of the question is `cell`, its levels are names of cells. The intervals of all cells hold together.
    """
    names = [reference, *(cell.cell for cell in answer.confirmed if cell.cell != reference)]
    design = Design((CELL,), {name: {CELL: name} for name in names}, {CELL: tuple(names)})
    return questions(design, answer.scores, answer.units_planned, answer.matters)


def against_starts(records: Records, answer: Answer) -> list[Question]:
    """Return one question per start of sources: what their last stage gains over the weights from which it starts.

    `imagenet+simclr:pets` starts from `imagenet`; `simclr:pets`, and `imagenet` itself, are compared with `random`. Starts that
    the study does not compare have no question.
    """
    design = design_of(records)
    chains: dict[str, list[str]] = {}
    for source in design.levels.get(SOURCE, ()):
        start = source.rpartition("+")[0] or "random"
        if start != source and start in design.levels[SOURCE]:
            chains.setdefault(start, []).append(source)
    found = []
    for start, sources in chains.items():
        asked = questions(_with_sources(design, [start, *sources]), answer.scores, answer.units_planned, answer.matters)
        found += [question for question in asked if question.axis == SOURCE]
    return found


def _with_sources(design: Design, sources: Sequence[str]) -> Design:
    """Return the part of a design with these sources, the first of which is the reference."""
    cells = {cell: own for cell, own in design.cells.items() if own[SOURCE] in sources}

    def present(axis: str, levels: Sequence[str]) -> tuple[str, ...]:
        return tuple(level for level in levels if any(own[axis] == level for own in cells.values()))

    levels: Mapping[str, Sequence[str]] = {**design.levels, SOURCE: sources}
    return Design(design.axes, cells, {axis: present(axis, of_axis) for axis, of_axis in levels.items()})
