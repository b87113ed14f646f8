"""Differences that a user asks for in text."""

import pytest
from drawn_study import Drawn

from segsweep.errors import UserError
from segsweep.report.answer.answer import Answer, answer_of
from segsweep.report.answer.asked import asked, asked_lines

SOURCES = {"source": ["random", "supervised:near", "supervised:far"], "freeze": ["none", "encoder"]}


@pytest.fixture(scope="module")
def answer() -> Answer:
    """A study in which the near source gains with nothing frozen."""
    return answer_of(Drawn(SOURCES, {"source=supervised:near freeze=none": 0.7}).records())


def test_a_condition_restricts_both_sides(answer: Answer) -> None:
    """Within nothing frozen, one pair of cells is compared; levels may be written as their labels."""
    (found,) = asked(answer, ["source=near - source=random weights; freeze=none"])
    assert found.weights == {"source=supervised:near freeze=none": 1.0, "source=random freeze=none": -1.0}
    (line,) = asked_lines(answer, ["source=near - source=random; freeze=none"])
    assert line.startswith("Near with nothing frozen gains ")
    assert line.endswith(" against random weights.")


def test_without_a_condition_pairs_are_averaged(answer: Answer) -> None:
    """The difference of two sources is the mean over both freeze policies, and equals that of the answer when asked alone."""
    (found,) = asked(answer, ["source=supervised:near - source=random"])
    near = answer.questions[0].differences[0]
    assert found.weights == near.weights
    assert (found.estimate, found.half) == (near.estimate, near.half)
    assert found.half_together == found.half


def test_sides_may_differ_in_several_axes(answer: Answer) -> None:
    """Each side names one cell."""
    (found,) = asked(answer, ["source=near, freeze=encoder - source=random, freeze=none"])
    assert found.weights == {"source=supervised:near freeze=encoder": 1.0, "source=random freeze=none": -1.0}


def test_several_questions_hold_together(answer: Answer) -> None:
    """With two questions, the simultaneous intervals are wider than each alone."""
    found = asked(answer, ["source=near - source=random", "freeze=encoder - freeze=none"])
    assert all(each.half_together > each.half for each in found)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("source=near", "compares no two sides; write it as"),
        ("near - random", "'near' is no AXIS=LEVEL"),
        ("colour=red - source=random", "axis: unknown name 'colour'; known: source, freeze"),
        ("source=mars - source=random", "level of source: unknown name 'mars'; known: random, supervised:near"),
        ("source=near - source=near", "no cells that are equal on all other axes"),
    ],
)
def test_a_wrong_question_is_explained(answer: Answer, question: str, reason: str) -> None:
    """The message quotes the question and says what is allowed."""
    with pytest.raises(UserError, match=reason):
        asked(answer, [question])


def test_cells_without_runs_are_named() -> None:
    """A question on cells that have no finished run gives no number."""
    missing = {("source=supervised:far freeze=none", seed) for seed in (1, 2, 3)}
    answer = answer_of(Drawn(SOURCES, missing=missing).records())
    with pytest.raises(UserError, match="no matching cells of the two sides have finished confirmed runs in common"):
        asked(answer, ["source=far - source=random; freeze=none"])
