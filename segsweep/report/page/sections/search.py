"""The section on a search: its best score over its trials, and the values that it explored."""

import math

from segsweep.report.page.document import Section
from segsweep.report.page.figure import Numbers, paragraphs, scrolled_table
from segsweep.report.page.markup import markup
from segsweep.report.page.steps import Steps, steps_figure
from segsweep.report.page.study_view import StudyView
from segsweep.report.sections import EXPLORED


def search_section(view: StudyView) -> Section | None:
    """Return the history of a search and what it explored; None for a grid, and before its first trial has ended."""
    search = view.answer.search
    if search is None or not search.history:
        return None
    best = f"best {search.measure}"
    history = Numbers(
        ("trials", "epochs", best),
        tuple((f"{each.trials:,}", f"{each.epochs:,}", search.score(each.best)) for each in search.history),
    )
    explored = Numbers(
        ("", "value", "trials", "finished", best),
        tuple(
            (each.axis.replace("_", " "), each.level, f"{each.trials:,}", f"{each.finished:,}", search.score(each.best))
            for each in search.explored
        ),
    )
    scored = [each for each in search.history if not math.isnan(each.best)]
    unit, measure = (1, best) if search.is_loss else (100, f"{best}, points")
    scores = tuple(unit * each.best for each in scored)
    steps = Steps("The best score of the search so far", measure, tuple(each.epochs for each in scored), scores)
    caption = "The best score so far, of the trials that finished. Epochs are those of all trials, also of stopped ones."
    content = steps_figure(steps, caption, history) if scored else scrolled_table(history)
    if search.explored:
        content = markup(content, paragraphs([f"Values that the search explored. {EXPLORED}"]), scrolled_table(explored))
    return Section("search", "The search", content)
