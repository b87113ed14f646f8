"""Proposals of further seeds, with their price."""

from dataclasses import replace

import pytest
from drawn_study import Drawn

from segsweep.report.answer.answer import answer_of
from segsweep.report.answer.contrasts import Contrasts
from segsweep.report.answer.next_runs import next_lines, next_runs

SOURCES = {"source": ["random", "supervised:near", "supervised:far"], "freeze": ["none", "encoder"]}
OPEN = Drawn(
    SOURCES,
    {f"source=supervised:near freeze={policy}": 0.53 for policy in ("none", "encoder")},
    of_seed=0.02,
    of_image=0.01,
    seeds=2,
    images=100,
)


def test_a_proposal_names_the_seeds_that_decide_and_their_price() -> None:
    """The number is the least one whose simultaneous interval excludes zero; the price counts new runs of all cells."""
    records = OPEN.records()
    trials = records.trials.assign(seconds=36.0)
    (first, *_) = next_runs(replace(records, trials=trials), answer_of(records))
    assert first.difference == "near against random weights"
    more = first.units - 2
    assert (first.runs, first.options) == (6 * more, f"--set seeds={first.units}")
    assert first.hours == pytest.approx(0.06 * more)
    (line,) = next_lines([first])
    assert f"about {first.units} seeds would decide it" in line
    assert f"({6 * more} more runs, " in line


def test_the_proposed_seeds_would_decide() -> None:
    """At equal estimates and variances, the interval excludes zero with that number of seeds and not with one less."""
    answer = answer_of(OPEN.records())
    difference = answer.questions[0].differences[0]
    engine = answer.scores.engine(answer.scores.cells)
    assert engine is not None
    assert isinstance(engine.contrasts, Contrasts)
    vector, level = engine.weights(difference.weights), 0.95**0.5
    needed = engine.contrasts.units_needed(vector, level)
    assert needed == difference.units_needed
    assert needed > 2
    assert engine.contrasts.units_needed(vector, 0.5) < needed


@pytest.mark.parametrize("drawn", [replace(OPEN, seeds=1), replace(OPEN, of_seed=0.0001, rest=0.001, of_image=0.001)])
def test_nothing_is_proposed_where_seeds_are_unknown_or_everything_is_decided(drawn: Drawn) -> None:
    """One seed says nothing on other seeds; decided differences need none."""
    records = drawn.records()
    assert next_runs(records, answer_of(records)) == []


def test_source_models_are_proposed_with_their_seeds() -> None:
    """With two seeds per source model, a proposal keeps that ratio."""
    records = replace(OPEN, seeds=4, source_seeds=2).records()
    for each in next_runs(records, answer_of(records)):
        assert each.options == f"--set source_seeds={each.units} --set seeds={2 * each.units}"
