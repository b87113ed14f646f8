"""What a run says before it starts: what there is to do, how long it may take, and how to narrow it."""

from segsweep.durations import readable_seconds
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.class_remarks import class_remarks
from segsweep.sweep.data_remarks import data_remarks
from segsweep.sweep.fit_remarks import fit_remarks
from segsweep.sweep.plan import Plan
from segsweep.sweep.points import points_remarks
from segsweep.sweep.session import Session
from segsweep.sweep.small_stem import stem_remarks
from segsweep.sweep.tally import EarlierProgress


def seconds_left(session: Session) -> float:
    """Return how long what is left may take on all workers, before early stopping."""
    planner = session.planner
    if planner.done:
        return 0.0
    share = 1 - planner.trials_done / planner.plan.trials
    return session.costs.total(planner.missing_stages()) * share / session.runner.workers


def announce(session: Session, progress: EarlierProgress) -> None:
    """Report what there is to do beside what earlier starts have done, how long it may take, and how to narrow it."""
    planner, plan, seconds = session.planner, session.plan, seconds_left(session)
    view, notify, runner = session.config.view, session.config.notify, session.runner
    view.begin(plan, progress, seconds)
    view.workers(runner.workers, runner.label)
    if planner.done:
        return
    for line in remarks(plan, session.catalog):
        notify(line)
    text = (
        f"{plan.study.name}: {plan.counted_cells}, {plan.trials} trials ({plan.tuning_trials} to tune, "
        f"{plan.confirmation_trials} to confirm; {planner.trials_done} done), {len(planner.missing_stages())} of "
        f"{len(plan.stages())} stages to build; about "
        f"{readable_seconds(seconds)} on {runner.label}, before early stopping. "
        "To narrow: --set NAME=VALUE on any axis or setting, --preset, --plan."
    )
    notify(text)


def remarks(plan: Plan, catalog: Catalog) -> list[str]:
    """Return what is to be known before a plan is carried out: of data, classes, stems and points, and which cells are one."""
    return [
        *fit_remarks(plan.study, catalog),
        *data_remarks(plan.study, catalog),
        *class_remarks(plan.study, catalog),
        *stem_remarks(plan.study),
        *points_remarks(plan.study),
        *(f"cell {name} is the same work as {kept}, which stands for both" for name, kept in plan.twins.items()),
    ]
