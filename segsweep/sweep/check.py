"""A rehearsal: two batches through every stage and phase of every cell, to find mistakes within a minute."""

from dataclasses import replace
from functools import partial

from rich.console import Console

from segsweep.config.folds import folds_of
from segsweep.config.space import Choice
from segsweep.config.stage_settings import batch_sizes
from segsweep.config.study import Study
from segsweep.records.study_records import Records
from segsweep.store.contents import DATA, MANIFESTS, MASKS
from segsweep.sweep.folders import Folders
from segsweep.sweep.options import Options
from segsweep.sweep.progress import choose_view
from segsweep.sweep.run import run_in
from segsweep.sweep.session import Purpose, SessionConfig, open_session

BATCHES = 2
SHARED = (DATA, MASKS, MANIFESTS)  # contents that a rehearsal shares with the study's store
LENGTHS = ("epochs", "steps", "validations", "source_epochs", "source_steps", "ssl_epochs", "ssl_steps", "patience_epochs")


def check(study: Study, folders: Folders, options: Options, console: Console) -> Records:
    """Rehearse a study, and return the records of the rehearsal. Only prepared data stays in the store.

    Every stage and trial takes two optimiser steps and uses two batches of every split. Each cell has one tuning trial and one
    confirmed run (on the first fold, if the protocol has folds), and each source one learning rate.
    """
    rehearsal, notify = rehearsal_of(study), partial(console.print, soft_wrap=True)
    view = choose_view(console)
    try:
        with open_session(study, SessionConfig(Purpose.CHECK, folders, options, view, notify)):
            pass  # only checks: raises `UserError` if a run would refuse the study
    finally:
        view.close()
    batch = max(max(batch_sizes(settings).values()) for _, settings in study.cells())
    options = replace(options, budget_hours=None, deadline=None)  # they limit the study, not its rehearsal
    with folders.store.rehearsal(SHARED) as rehearsal_store, folders.store.scratch("check-") as out:
        apart = replace(folders, out=out, store=rehearsal_store, max_images=BATCHES * batch, fork_of=None)
        return run_in(rehearsal, apart, options, console)


def rehearsal_of(study: Study) -> Study:
    """Return a study with the same cells, each with two steps, one tuning trial, one source rate, one seed and one fold."""
    searched = study.grids if study.search is None else [study.search.searched(grid) for grid in study.grids]
    grids = [{axis: values for axis, values in grid.items() if axis not in LENGTHS} for grid in searched]
    fixed = {name: value for name, value in study.fixed.items() if name not in LENGTHS}
    firsts = {name: Choice(tuned.values[:1]) if isinstance(tuned, Choice) else tuned for name, tuned in study.tune.items()}
    tune = {name: tuned for name, tuned in firsts.items() if name not in LENGTHS}
    named = "fold" in fixed or any("fold" in grid for grid in grids)
    fold = {"fold": 1} if folds_of(study.target.protocol) and not named else {}
    return replace(
        study,
        compare=grids,
        tune=tune,
        fixed={**fixed, **fold, "steps": BATCHES, "validations": 1, "source_steps": BATCHES, "ssl_steps": BATCHES},
        trials_per_cell=1,
        seeds=1,
        source_seeds=1,
        source_trials=1,
        source_range=None,
        early_stopping=None,
        search=None,
        looks=(),
    )
