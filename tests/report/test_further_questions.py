"""Questions beyond those of an answer: single cells, and the weights from which a source starts."""

import pytest
from drawn_study import Drawn

from segsweep.report.answer.answer import answer_of
from segsweep.report.answer.questions import Verdict
from segsweep.report.figures import differences_figure
from segsweep.report.further_questions import against_cell, against_starts

SIMCLR, CHAIN = "simclr:pets", "imagenet+simclr:pets"
STARTS = {"source": ["random", "imagenet", SIMCLR, CHAIN], "fraction": [0.5, 1.0]}


def test_every_cell_is_compared_with_one() -> None:
    """The differences are those of the cells' scores, their intervals hold together, and a figure names the cells."""
    base, best = "source=imagenet fraction=0.5", "source=random fraction=1.0"
    answer = answer_of(Drawn(STARTS, {best: 0.8}).records())
    (question,) = against_cell(answer, base)
    assert [each.name for each in question.differences] == [cell.cell for cell in answer.cells if cell.cell != base]
    for each in question.differences:
        assert each.estimate == pytest.approx(answer.cell(each.name).estimate - answer.cell(base).estimate)
        assert each.half_together > each.half
        assert (each.verdict is Verdict.GAIN) == (each.name == best)
    figure = differences_figure(answer, [question])
    assert figure
    assert figure.axes[0].get_title(loc="left") == "Against imagenet, fraction 0.5"


def test_a_chain_is_compared_with_its_start() -> None:
    """Single sources are compared with random weights, a chain with the chain before its last stage."""
    records = Drawn(STARTS, {f"source={CHAIN} fraction={fraction}": 0.7 for fraction in (0.5, 1.0)}).records()
    answer = answer_of(records)
    found = {question.reference: question for question in against_starts(records, answer)}
    assert {start: [each.name for each in question.differences] for start, question in found.items()} == {
        "random": ["imagenet", SIMCLR],
        "imagenet": [CHAIN],
    }
    gain = found["imagenet"].differences[0]
    assert (gain.verdict, gain.pairs) == (Verdict.GAIN, 2)


def test_a_start_that_is_not_compared_has_no_question() -> None:
    """Neither has a cell without runs."""
    records = Drawn({"source": [CHAIN, SIMCLR]}, missing={(f"source={SIMCLR}", seed) for seed in (1, 2, 3)}).records()
    answer = answer_of(records)
    assert against_starts(records, answer) == []
    assert against_cell(answer, f"source={SIMCLR}") == []
