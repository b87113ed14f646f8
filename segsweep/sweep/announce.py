"""The announcement of a run: remarks on the study, the number of cells, trials and stages, and the predicted time."""

from segsweep.sweep.budget_start import BudgetForecast, limits_of, limits_text
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.class_remarks import class_remarks
from segsweep.sweep.data_remarks import data_remarks
from segsweep.sweep.fit_remarks import fit_remarks
from segsweep.sweep.plan import Plan
from segsweep.sweep.points import points_remarks
from segsweep.sweep.prediction import Prediction, predict
from segsweep.sweep.prediction_text import busy_sentences, time_text
from segsweep.sweep.session import Session
from segsweep.sweep.shorter_runs import longer_lines
from segsweep.sweep.small_stem import stem_remarks
from segsweep.sweep.tally import EarlierProgress
from segsweep.sweep.until_decided import look_remarks


def seconds_left(session: Session) -> float:
    """Return the predicted seconds of the remaining work on all workers, without early stopping."""
    planner = session.planner
    if planner.done:
        return 0.0
    if (forecast := BudgetForecast.of(planner)) is not None:
        return forecast.seconds / session.runner.workers
    share = 1 - planner.trials_done / planner.plan.trials
    return session.costs.total(planner.missing_stages()) * share / session.runner.workers


def prediction(session: Session) -> Prediction | None:
    """Return the prediction of the remaining work of a session on its runner's workers; None if nothing is left."""
    if session.planner.done:
        return None
    return predict(
        session.planner,
        session.costs,
        session.catalog,
        session.runner.workers,
        session.config.options.runner,
        session.undecoded,
    )


def announce(session: Session, progress: EarlierProgress, predicted: Prediction | None) -> None:
    """Show the plan, the progress of earlier starts, all remarks, the predicted time, and how to narrow the study."""
    planner, plan, seconds = session.planner, session.plan, 0.0 if predicted is None else predicted.finish_seconds.expected
    view, notify, runner = session.config.view, session.config.notify, session.runner
    view.begin(plan, progress, seconds)
    view.workers(runner.workers, runner.label)
    if predicted is None:
        for line in budget_lines(session):
            notify(line)
        return
    for line in (*remarks(plan, session.catalog), *longer_lines(session)):
        notify(line)
    text = (
        f"{plan.study.name}: {plan.counted_cells}, {plan.trials} trials ({plan.tuning_trials} to {plan.verb}, "
        f"{plan.confirmation_trials} to confirm; {planner.trials_done} done), {len(planner.missing_stages())} of "
        f"{len(plan.stages())} stages to build; about "
        f"{time_text(predicted.finish_seconds)} on {runner.label}. "
        "Narrow the study with --set NAME=VALUE or --preset; --plan lists all cells."
    )
    text = " ".join([text, *busy_sentences(predicted)])
    notify(text)
    for line in budget_lines(session):
        notify(line)


def budget_lines(session: Session) -> list[str]:
    """Return a line on what the budget of a start allows; none without a budget."""
    limits, forecast = limits_of(session.config.options), BudgetForecast.of(session.planner)
    if forecast is not None:
        return [forecast.line()]
    return [f"{limits_text(limits)}: what fits is unknown until all data is found"] if limits else []


def remarks(plan: Plan, catalog: Catalog) -> list[str]:
    """Return remarks on a plan: on its data, classes, stems and tuning points, and on cells that are the same work."""
    return [
        *fit_remarks(plan.study, catalog),
        *data_remarks(plan.study, catalog),
        *class_remarks(plan.study, catalog),
        *stem_remarks(plan.study),
        *points_remarks(plan.study),
        *look_remarks(plan.study, len(plan.cells)),
        *(f"cell {name} is identical to cell {kept}: it is run once, as {kept}" for name, kept in plan.twins.items()),
    ]
