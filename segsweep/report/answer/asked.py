"""Questions that a user asks in text, such as `source=coco - source=random; freeze=none`."""

from collections.abc import Mapping, Sequence

from segsweep.errors import UserError, unknown
from segsweep.report.answer.answer import Answer
from segsweep.report.answer.matching import Pair
from segsweep.report.answer.questions import Difference, family
from segsweep.report.answer.sentences import verdict_text
from segsweep.report.answer.words import capital

FORM = "write it as 'AXIS=LEVEL - AXIS=LEVEL', with conditions after ';', such as 'source=coco - source=random; freeze=none'"
Levels = Mapping[str, str]


def asked(answer: Answer, questions: Sequence[str]) -> tuple[Difference, ...]:
    """Return the difference that each question asks for; their simultaneous intervals hold together.

    A question names the levels of two sides, and after a semicolon levels that both have. A cell of the first side is compared
    with the one cell of the other side that is equal on all axes that neither side names; the difference is the mean over these
    pairs. A level is its text, or its label, as in the table.

    Raises `UserError` for a question in another form, an unknown axis or level, or sides without matching cells with scores.
    """
    pairs = {question: _pairs(answer, question) for question in questions}
    found = family(answer.scores, pairs, answer.units_planned, answer.matters)
    named = {difference.name for difference in found}
    for question in questions:
        if question not in named:
            raise UserError(f"--ask {question!r}: no matching cells of the two sides have finished confirmed runs in common")
    return found


def asked_lines(answer: Answer, questions: Sequence[str]) -> list[str]:
    """Return a sentence per question."""
    return [_sentence(answer, difference) for difference in asked(answer, questions)]


def _sentence(answer: Answer, difference: Difference) -> str:
    sides, _, conditions = difference.name.partition(";")
    one, other = (", ".join(_labels(answer, side)) for side in sides.split(" - "))
    where = f" with {', '.join(_labels(answer, conditions))}" if conditions.strip() else ""
    part = f" ({difference.pairs} of {difference.pairs_planned} pairs of cells)"
    pairs = part if difference.pairs < difference.pairs_planned else ""
    return f"{capital(one)}{where} {verdict_text(answer, difference)} against {other}{pairs}."


def _labels(answer: Answer, text: str) -> list[str]:
    return [answer.level(axis, level) for axis, level in _levels(answer, text, text).items()]


def _pairs(answer: Answer, question: str) -> list[Pair]:
    """Return the pairs of cells that a question compares. Raises `UserError` for another form, axis or level, or no pair."""
    sides, _, conditions = question.partition(";")
    if sides.count(" - ") != 1:
        raise UserError(f"--ask {question!r}: compares no two sides; {FORM}")
    one, other = (_levels(answer, side, question) for side in sides.split(" - "))
    both = _levels(answer, conditions, question) if conditions.strip() else {}
    named = {*one, *other}
    rest = [axis for axis in answer.design.varied if axis not in named]
    partners: dict[tuple[str, ...], list[str]] = {}
    for cell in _cells(answer, {**both, **other}):
        partners.setdefault(tuple(answer.design.cells[cell][axis] for axis in rest), []).append(cell)
    found = []
    for cell in _cells(answer, {**both, **one}):
        alike = partners.get(tuple(answer.design.cells[cell][axis] for axis in rest), [])
        if len(alike) == 1 and alike[0] != cell:
            found.append((cell, alike[0]))
    if not found:
        raise UserError(f"--ask {question!r}: the two sides have no cells that are equal on all other axes ({', '.join(rest)})")
    return found


def _cells(answer: Answer, levels: Levels) -> list[str]:
    return [cell for cell, own in answer.design.cells.items() if all(own[axis] == level for axis, level in levels.items())]


def _levels(answer: Answer, text: str, question: str) -> dict[str, str]:
    """Return levels by axis from `AXIS=LEVEL, AXIS=LEVEL`. Raises `UserError` for another form, axis or level."""
    found = {}
    for part in text.split(","):
        axis, equals, level = (each.strip() for each in part.partition("="))
        if not equals:
            raise UserError(f"--ask {question!r}: {part.strip()!r} is no AXIS=LEVEL; {FORM}")
        if axis not in answer.design.axes:
            raise unknown(f"--ask {question!r}: axis", axis, answer.design.axes)
        labels = answer.level_labels[axis]
        matches = [known for known, label in labels.items() if level in (known, label)]
        if not matches:
            raise unknown(f"--ask {question!r}: level of {axis}", level, list(labels))
        found[axis] = matches[0]
    return found
