"""Shorter runs of a study that its longer trials continue, or why these are new."""

from collections.abc import Iterator

from segsweep.config.shorter_run import ShorterRun, depends_on_length
from segsweep.config.work import Trial
from segsweep.continued import kept_checkpoint
from segsweep.records.fork import identity_of
from segsweep.records.study_records import Records
from segsweep.sweep.session import Session

LENGTH = ["epochs", "steps", "validations"]


def shorter_runs(session: Session) -> tuple[ShorterRun, ...]:
    """Return the lengths of the finished trials of a study, and of the study from which it was forked."""
    return () if session.records is None else tuple(_lengths(session, session.records))


def _lengths(session: Session, records: Records) -> Iterator[ShorterRun]:
    folders, study = session.config.folders, session.plan.study
    places = [folders.study_folder(study), *([folders.fork_of] if folders.fork_of is not None else [])]
    identities = [identity for place in places if (identity := identity_of(place)) is not None]
    finished = records.all_trials.loc[records.all_trials["status"] == "finished", LENGTH].drop_duplicates()
    for lengths in finished.astype(object).where(finished.notna(), None).itertuples(index=False):
        epochs, steps, validations = (None if each is None else int(each) for each in lengths)
        yield from (ShorterRun(identity, epochs, steps, validations or 1) for identity in identities)


def longer_lines(session: Session) -> list[str]:
    """Return a line on the waiting trials that continue a finished shorter one, and a line on those that cannot.

    Confirmed runs whose setting is not chosen yet are not counted.
    """
    if session.records is None or not (lengths := shorter_runs(session)):
        return []
    rows, store = session.records.all_trials, session.catalog.store
    finished = set(rows.loc[rows["status"] == "finished", "trial_id"])
    waiting = {
        identity: trial
        for cell in session.plan.cells
        for identity, trial in ((each.trial_id, each) for each in session.planner.trials(cell))
        if identity not in session.planner.ended(cell)
    }
    longer = [
        trial
        for trial in waiting.values()
        if any(each.results < trial.settings.results and each.of(trial).trial_id in finished for each in lengths)
    ]
    new = [trial for trial in longer if not any(kept_checkpoint(trial, each, store) for each in lengths)]
    continued = len(longer) - len(new)
    lines = [f"trials that continue from the last epoch of a shorter one: {continued}"] if continued else []
    return [*lines, f"trials that start anew although a shorter one has finished: {len(new)}; {_why_new(new)}"] if new else lines


def _why_new(longer: list[Trial]) -> str:
    """Return why longer trials do not continue shorter ones."""
    if all(depends_on_length(trial.settings) for trial in longer):
        settings = longer[0].settings
        return f"their learning rate depends on their length (schedule={settings.schedule}, warmup={settings.warmup:g})"
    return "it kept no checkpoint (--keep-checkpoints), or was validated after other numbers of steps"
