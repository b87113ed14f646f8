"""What a plan, a rehearsal and a run check before any work starts: the same, in one order, so all refuse with the same words.

A plan differs in two ways. Data that is not found is noted instead of refused, and data that the store does not hold is not
decoded, so what only its pixels tell is unknown.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from segsweep.config.loss_text import user_losses
from segsweep.config.source import DATASET_KINDS, Source
from segsweep.config.study import Study
from segsweep.config.user_objects import check_provided, register
from segsweep.data.dataset import Tell
from segsweep.errors import UserError
from segsweep.records.alive import driver_alive
from segsweep.records.damage import DamagedRecordsError
from segsweep.records.lines import read_study
from segsweep.records.wandb.options import MirrorOptions, check_key
from segsweep.records.writer import held
from segsweep.store.folder import Store
from segsweep.sweep.catalog import Catalog, check_names, tuned_values
from segsweep.sweep.folders import Folders
from segsweep.sweep.options import Options, flag
from segsweep.sweep.plan import Plan, make_plan
from segsweep.sweep.preflight import preflight
from segsweep.sweep.preparation import check_prepared, check_undecoded, prepare_all
from segsweep.sweep.progress import View
from segsweep.sweep.runners import Runner, open_runner, runner_for_plan


@dataclass(frozen=True)
class Start:
    """A study that passed all checks: its plan, its data, and the runner for it.

    `undecoded` names the data sets of a plan that the store does not hold at some size.
    """

    plan: Plan
    catalog: Catalog
    runner: Runner
    undecoded: frozenset[str] = frozenset()


@contextmanager
def ready(
    study: Study,
    folders: Folders,
    options: Options,
    view: View,
    tell: Tell,
    *,
    planning: bool = False,
    rehearsing: bool = False,
) -> Iterator[Start]:
    """Yield a study's plan once all is checked and, unless `planning`, its data prepared.

    With `planning` or `rehearsing` the runner starts no Ray and serves to plan alone. Raises `UserError` for what a run would
    refuse, with the same words whichever of them asks; who is `planning` calls `check_free` when the plan is shown.
    """
    register(study.user_objects)  # again: another study of this process may have brought other things of the same names
    check_user_objects(study)
    check_names(study)
    check_groups(study, options)
    check_folders(folders.study_folder(study), folders.store)
    if not planning:
        check_free(folders.study_folder(study))
    opened = runner_for_plan if planning or rehearsing else open_runner
    with opened(options, study, folders.store) as runner:
        catalog = Catalog(folders.roots, folders.store, view.data, lenient=planning, tell=tell, user_objects=study.user_objects)
        preflight(study, catalog)
        if planning:
            check_undecoded(study, catalog)
            undecoded = check_prepared(study, catalog)
        else:
            prepare_all(study, catalog)
            undecoded = frozenset()
        yield Start(plan_of(study, catalog, runner), catalog, runner, undecoded)


def plan_of(study: Study, catalog: Catalog, runner: Runner) -> Plan:
    """Return the plan of a study for the devices of a runner. Raises `UserError` for sizes that cannot be."""
    preflight(study, catalog)
    return make_plan(study, catalog.key, cache(runner.resolve), partial(catalog.left_out, study), catalog.masks_key)


def check_mirror(mirror: MirrorOptions, folder: Path) -> None:
    """Raise `UserError` for a study folder that cannot be made and for a mirror that could not send: before either is begun."""
    check_out(folder)
    if mirror.mode == "online":
        check_key()


def check_user_objects(study: Study) -> None:
    """Raise `UserError` for an architecture, a loss or a data set `own:NAME` that the study names and does not bring."""
    for _, cell in study.cells():
        losses = tuned_values(study, "loss", cell.loss)
        texts = [cell.architecture, *(name for loss in losses for name in user_losses(loss))]
        stages = Source.parse(cell.source).stages
        datasets = [study.target_name, *(stage.name for stage in stages if stage.kind in DATASET_KINDS and stage.name)]
        check_provided([*texts, *datasets], study.user_objects, study.name)


def check_groups(study: Study, options: Options) -> None:
    """Raise `UserError` where workers that train together would have no image each."""
    for name, settings in study.cells():
        for setting, size in settings.batch_sizes().items():
            option = "workers_per_trial" if setting == "batch_size" else "workers_per_stage"
            if (workers := getattr(options, option)) > size:
                raise UserError(f"{flag(option)} {workers}: {setting}={size} of cell {name} leaves workers without a picture")


def check_folders(folder: Path, store: Store) -> None:
    """Raise `UserError` for a study folder or a store that cannot be written, and for records of a later version."""
    check_out(folder)
    with suppress(DamagedRecordsError):  # a run writes it anew, or says what it needs for that
        if (folder / "study.json").is_file():
            read_study(folder)
    store.check_writable()


def check_out(folder: Path) -> None:
    """Raise `UserError` where a study's folder can be neither written nor made. Writes nothing."""
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise UserError(f"--out: folder {folder} cannot be made: {os.strerror(errno.ENOTDIR)}: {there}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"--out: folder {folder} cannot be written: {os.strerror(errno.EACCES)}: {there}")


def check_free(folder: Path) -> None:
    """Raise `UserError` where another process runs the study now."""
    if driver_alive(folder):
        raise held(folder)
