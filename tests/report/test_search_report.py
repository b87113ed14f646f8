"""The report of a search: its course, its confirmed settings, and no statement that needs a grid."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from parsed_markup import parsed

from segsweep.config.keep import smoothed
from segsweep.records import Records, load
from segsweep.records.readings import curves_of
from segsweep.report.answer.answer import answer_of
from segsweep.report.answer.two_studies import compare_studies
from segsweep.report.cells import summarise
from segsweep.report.page.study_page import study_page
from segsweep.report.search import search_view
from segsweep.report.status import status_of
from segsweep.report.text import table_text


@pytest.fixture
def records(searched: Path) -> Records:
    """The records of the tiny study as a search."""
    return load(searched / "runs" / "tiny")


@pytest.fixture
def unfinished(records: Records) -> Records:
    """The same records before the search had ended: five of its trials, no choice, no confirmed run."""
    trials = records.trials[(records.trials["phase"] == "search") & (records.trials["point"] < 5)].reset_index(drop=True)
    trials = trials.assign(chosen=False)
    return replace(records, trials=trials, choices={})


def test_the_answer_says_that_the_best_score_of_a_search_is_optimistic(records: Records) -> None:
    """The first sentence counts the trials and names the best score with what it is not; the next ones are of confirmed runs."""
    answer = answer_of(records)
    first, best, limits = answer.sentences
    view = search_view(records)
    assert view is not None
    assert first.startswith("The search ran 8 trials (16 epochs) in ")
    assert f"{100 * view.best:.1f}, is optimistic" in first
    assert "test IoU" in best
    assert "95 % intervals" in limits


def test_a_search_has_no_statement_that_needs_a_grid(records: Records) -> None:
    """Its answer has no questions, its text no differences between levels, its page no sections on axes and their importance."""
    answer = answer_of(records)
    assert answer.questions == ()
    assert "Against " not in table_text(records, answer)
    titles = [heading.text for heading in parsed(study_page(records, answer=answer)).iter("h2")]
    assert "The search" in titles
    assert not {"What matters", "Was every cell tuned fairly?"} & set(titles)


def test_the_page_of_a_search_does_not_ask_the_question_of_a_grid(records: Records) -> None:
    """Its title is the study's name: `--search` runs a script whose question is about levels."""
    asked = replace(records, study={**records.study, "question": "Which source is best?"})
    page = parsed(study_page(asked))
    assert [heading.text for heading in page.iter("h1")] == ["tiny"]


def test_only_confirmed_cells_are_in_the_table_of_a_search(records: Records) -> None:
    """The other cells of the space have no row: they are not without a result."""
    confirmed = set(records.trials.loc[records.trials["phase"] == "confirm", "cell"])
    assert len(confirmed) == 2 < len(records.study["cells"])
    assert set(summarise(records)["cell"]) == {cell.cell for cell in answer_of(records).cells} == confirmed


def test_the_history_is_the_best_score_so_far(records: Records) -> None:
    """After each number of trials, the history has the highest smoothed reading among them and the sum of their epochs."""
    view = search_view(records)
    assert view is not None
    curves = curves_of(records.trials, records.epochs, "search")
    trials = records.trials[records.trials["phase"] == "search"].sort_values("ended_at")
    scores = [smoothed([found for _, found in sorted(curves[trial].items())]).value for trial in trials["trial_id"]]
    assert [found.trials for found in view.history] == list(range(1, 9))
    assert [found.best for found in view.history] == [max(scores[:number]) for number in range(1, 9)]
    assert [found.epochs for found in view.history] == [2 * number for number in range(1, 9)]


def test_the_explored_values_count_every_trial_once_per_axis(records: Records) -> None:
    """The trials of the values of each axis sum to those of the search, and the best of each axis is the best of all."""
    view = search_view(records)
    assert view is not None
    for axis in ("source", "freeze", "learning_rate"):
        own = [each for each in view.explored if each.axis == axis]
        assert sum(each.trials for each in own) == 8
        assert max(each.best for each in own) == view.best


def test_an_unfinished_search_has_a_report(unfinished: Records) -> None:
    """Before the choice, the report shows the course of the search and says that nothing is confirmed."""
    text = table_text(unfinished)
    assert "The search ran 5 of 8 trials" in text
    assert "No confirmed run has finished" in text
    assert "The search" in study_page(unfinished)


def test_a_search_without_a_finished_trial_has_no_score(unfinished: Records) -> None:
    """If all trials so far have failed, the sentence names none as the best."""
    failed = replace(unfinished, trials=unfinished.trials.assign(status="failed", val_iou=math.nan))
    assert "The search has run 5 of 8 trials" in table_text(failed)
    assert "none has finished" in table_text(failed).replace("\n", " ")


def test_the_status_of_a_finished_search_counts_its_trials_and_its_confirmed_runs(searched: Path) -> None:
    """All eight trials and the two runs of both confirmed cells are planned and done."""
    found = status_of(load(searched / "runs" / "tiny"))
    assert (found.state, found.trials.planned, found.trials.done) == ("finished", 8 + 2 * 2, 8 + 2 * 2)


def test_a_search_and_a_grid_are_compared_in_the_confirmed_cells(records: Records, finished: Path) -> None:
    """Side by side, a search has its confirmed cells alone; the other cells of the grid have no partner."""
    grid = load(finished / "runs" / "tiny")
    confirmed = {cell.cell for cell in answer_of(records).cells}
    for pair in ((records, grid), (grid, records)):
        found = compare_studies(*pair)
        assert len(found.pairs) == len(confirmed) == 2
        assert len(found.only_one) + len(found.only_other) == 2
