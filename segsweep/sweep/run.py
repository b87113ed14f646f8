"""Running a study from its declaration to its records."""

import math
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from rich.console import Console

from segsweep.config.study import Study
from segsweep.config.user_objects import for_workers
from segsweep.console import error_console
from segsweep.context import ExecutionContext
from segsweep.data.dataset import Tell, say_nothing
from segsweep.errors import unknown
from segsweep.records.damage import INDEX
from segsweep.records.lines import declared as declared_in
from segsweep.records.models import lost_models, lost_remarks
from segsweep.records.reader import Records, load
from segsweep.records.schema import SCHEMA_VERSION
from segsweep.records.wandb.launch import mirroring
from segsweep.records.wandb.options import MirrorOptions
from segsweep.records.writer import RecordWriter
from segsweep.store.folder import Store
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.changed import changed_line
from segsweep.sweep.class_remarks import class_remarks
from segsweep.sweep.cost import SPEEDS, CostModel, readable_seconds
from segsweep.sweep.data_remarks import data_remarks
from segsweep.sweep.driver import Driver
from segsweep.sweep.fit_remarks import fit_remarks
from segsweep.sweep.folders import Folders
from segsweep.sweep.options import Options
from segsweep.sweep.outage import Outage, insisting
from segsweep.sweep.plan import Plan
from segsweep.sweep.planner import Planner
from segsweep.sweep.points import points_remarks, tuning_points
from segsweep.sweep.preparation import prepare_all
from segsweep.sweep.progress import Standing, View, choose_view
from segsweep.sweep.resume import broken_off_in, find_stage, read_stage, resume_state, stage_taken, standing_of
from segsweep.sweep.rows import planned_rows
from segsweep.sweep.runners import Runner
from segsweep.sweep.signals import ended_politely
from segsweep.sweep.small_stem import stem_remarks
from segsweep.sweep.start import check_mirror, ready
from segsweep.sweep.work import ResumeState
from segsweep.training.speed import drop_damaged
from segsweep.version import segsweep_version


def run(
    study: Study,
    *,
    data: list[str] | None = None,
    out: str | Path = "runs",
    store: str | Path | None = None,
    retry_failed: bool = False,
    mirror: MirrorOptions | str = "off",
    **options: Any,
) -> Records:
    """Run what a study still lacks, and return its records.

    `data` holds `ROOT` and `NAME=PATH` texts, as `--data` does. `mirror` says what is sent to W&B, as
    `MirrorOptions` or `online` alone. `options` are the fields of
    `segsweep.sweep.options.Options`, as on the command line: `runner` (`ray` or `inline`), `device`, `threads`,
    `gpus_per_trial`, `max_concurrent`, `workers_per_stage`, `workers_per_trial`, `deterministic`, `wait_minutes`. Raises
    `UserError` before anything is trained where the study, the data or the setting is wrong, and `OutageError` where a full
    disk or a lost store has kept it from going on for longer than `wait_minutes`.
    """
    for name in options:
        if name not in Options.__dataclass_fields__:
            raise unknown("run", name, [*("data", "out", "store", "retry_failed", "mirror"), *Options.__dataclass_fields__])
    folders = Folders.make(out, store, data)
    console, asked = error_console(), MirrorOptions(mirror) if isinstance(mirror, str) else mirror
    check_mirror(asked, folders.study_folder(study))
    with mirroring(folders.study_folder(study), asked, partial(console.print, soft_wrap=True)):
        return run_in(study, folders, Options(**options), console, retry_failed)


def run_in(study: Study, folders: Folders, options: Options, console: Console, retry_failed: bool = False) -> Records:
    """Run what a study still lacks in a setting, telling the console, and return its records."""
    folder, tell = folders.study_folder(study), partial(console.print, soft_wrap=True)
    view = choose_view(console)
    try:
        with ended_politely(), ready(study, folders, options, view, tell) as start, RecordWriter(folder) as writer:
            for line in writer.told:
                tell(line)
            driver, standing = _driver(start.plan, writer, start.catalog, view, retry_failed, options.wait_minutes)
            announce(driver.planner, standing, start.catalog, start.runner, console, view)
            if not driver.planner.done:
                start.runner.run(driver, _execution_context(folders, start.runner, driver))
            driver.note_decisions()
    finally:
        view.close()
    return load(folder)


def _execution_context(folders: Folders, runner: Runner, driver: Driver) -> ExecutionContext:
    """Return what every worker is told."""
    return ExecutionContext(
        folders.store,
        runner.device,
        driver.records_id,
        folders.max_pictures,
        own=for_workers(driver.planner.plan.study.user_objects),
    )


def _driver(
    plan: Plan, writer: RecordWriter, catalog: Catalog, view: View, retry_failed: bool, wait_minutes: float | None
) -> tuple[Driver, Standing]:
    """Declare the study in the records; return a driver that goes on from what they and the store have, and what that is.

    It says what the study replaces, where it was declared differently before, and which confirmed models are lost.
    """
    store, tell = catalog.store, catalog.tell
    before = load(writer.folder) if declared_in(writer.folder) else None
    declared = declaration(plan)
    records_id = writer.declare({**declared, "store": str(store.root)})
    records = load(writer.folder) if before is None else before
    outage = Outage(store.root, writer.folder, view.tell, math.inf if wait_minutes is None else 60 * wait_minutes)
    lost = lost_models(records.all_trials, store, set_aside=True)
    planner = planner_of(plan, store, resume_state(records, plan.study.early_stopping, retry_failed, lost), tell, outage)
    for line in lost_remarks(planned_among(lost, planner)):
        tell(line)
    if (changed := changed_line(writer.folder, before, declared, planner)) is not None:
        tell(changed)
    writer.plan(planned_rows(planner), [stage.spec_id for stage in plan.stages()])
    told = set(records.all_stages["stage_id"][records.all_stages["status"] == "finished"])
    prepare = partial(prepare_all, plan.study, catalog)
    driver = Driver(planner, writer, store, view, outage, records_id, broken_off_in(records, lost), told, prepare)
    driver.note_decisions()  # the plan alone would count no confirmed run
    return driver, standing_of(planner, records)


def planner_of(plan: Plan, store: Store, resume: ResumeState, tell: Tell = say_nothing, outage: Outage | None = None) -> Planner:
    """Return the planner that goes on from what the store and the records have; each damaged stage is told once.

    During an outage it waits for the store.
    """
    told = cache(tell)
    if outage is None:
        return Planner(plan, partial(find_stage, store, told), resume, partial(stage_taken, store), partial(read_stage, store))
    there, find = insisting(store, outage), partial(_found, store, told, outage)
    return Planner(plan, find, resume, partial(stage_taken, there), partial(read_stage, there))


def _found(store: Store, tell: Tell, outage: Outage, key: str) -> str | None:
    """Return the content hash of a stage's weights, None where the store has none, once the store is there to say so."""

    def found() -> str | None:
        content_hash = find_stage(store, tell, key)
        if content_hash is None:
            outage.assert_there()
        return content_hash

    return outage.insist(found)


def planned_among(lost: Mapping[str, str], planner: Planner) -> dict[str, str]:
    """Return those of some lost models that belong to confirmed runs of the plan, which are to run again."""
    known = {trial.trial_id for cell in planner.plan.cells for trial in planner.trials(cell)}
    return {trial: reason for trial, reason in lost.items() if trial in known}


def load_or_none(folder: Path) -> Records | None:
    """Return the records of a study folder, None where no study was run. Raises `UserError` for what is damaged."""
    return load(folder) if declared_in(folder) or (folder / INDEX).is_file() else None


def seconds_left(planner: Planner, catalog: Catalog, runner: Runner) -> float:
    """Return how long what is left may take on all workers, before early stopping."""
    plan = planner.plan
    if planner.done:
        return 0.0
    if (damaged := drop_damaged(catalog.store.root / SPEEDS)) is not None:
        catalog.tell(damaged)
    cost = CostModel(plan, catalog, runner.device, runner.measure)
    return cost.total(planner.missing_stages()) * (1 - planner.trials_done / plan.trials) / runner.workers


def announce(planner: Planner, standing: Standing, catalog: Catalog, runner: Runner, console: Console, view: View) -> None:
    """Tell what there is to do, beside what earlier starts have done, how long it may take, and how to narrow it."""
    plan, missing, seconds = planner.plan, planner.missing_stages(), seconds_left(planner, catalog, runner)
    done = planner.trials_done
    view.begin(plan, standing, seconds)
    if planner.done:
        return
    for line in remarks(plan, catalog):
        console.print(line, soft_wrap=True)
    text = (
        f"{plan.study.name}: {plan.counted_cells}, {plan.trials} trials ({plan.tuning_trials} to tune, "
        f"{plan.confirmation_trials} to confirm; {done} done), {len(missing)} of {len(plan.stages())} stages to build; about "
        f"{readable_seconds(seconds)} on {runner.label}, before early stopping. "
        "To narrow: --set NAME=VALUE on any axis or setting, --preset, --plan."
    )
    console.print(text, soft_wrap=True)


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


def declaration(plan: Plan) -> dict[str, Any]:
    """Return a study and its cells as plain values, for the records."""
    study = plan.study
    return {
        "schema_version": SCHEMA_VERSION,
        "segsweep": segsweep_version(),
        "name": study.name,
        "target": {
            "name": study.target_name,
            "classes": study.target.classes,
            "protocol": study.target.protocol,
            "foreground": study.target.foreground,
            "class_map": {name: list(synonyms) for name, synonyms in study.target.class_map.items()},
            "groups": study.target.groups,
            "leakage": study.target.leakage,
        },
        "compare": [{axis: list(values) for axis, values in grid.items()} for grid in study.grids],
        "tune": {axis: str(tuned) for axis, tuned in study.tune.items()},
        "fixed": dict(study.fixed),
        "trials_per_cell": len(tuning_points(study.tune, study.trials_per_cell)),
        "seeds": study.seeds,
        "source_seeds": study.source_seeds,
        "source_trials": study.source_trials,
        "source_range": str(study.range_of_source_rates) if study.range_of_source_rates else None,
        "early_stopping": str(study.early_stopping) if study.early_stopping else None,
        "published": study.published.as_dict() if study.published else None,
        "cells": plan.names,
    }
