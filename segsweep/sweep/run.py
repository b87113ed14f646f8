"""Running a study from its declaration to its records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from segsweep.config.study import Study
from segsweep.data.table import DataRoots
from segsweep.errors import unknown
from segsweep.records.reader import Records, load
from segsweep.records.schema import SCHEMA_VERSION
from segsweep.records.writer import RecordWriter
from segsweep.store.folder import Store
from segsweep.sweep.catalog import Catalog, check_names, prepare_all
from segsweep.sweep.cost import CostModel, readable_seconds
from segsweep.sweep.driver import Driver, failed_in, find_stage, past_of, planned_rows
from segsweep.sweep.inline import run_inline
from segsweep.sweep.plan import Plan, make_plan
from segsweep.sweep.planner import Planner
from segsweep.sweep.progress import View, choose_view
from segsweep.training.device import Device, choose_device, resolve_precision
from segsweep.workplace import Workplace

Runner = Callable[[Driver, Workplace], None]
RUNNERS: Mapping[str, Runner] = {"inline": run_inline}
STORE_BESIDE = "store"


@dataclass(frozen=True)
class Setting:
    """Where a study runs: folders for records and artifacts, data, device."""

    out: Path
    store: Store
    roots: DataRoots
    device: Device
    max_pictures: int | None = None

    @classmethod
    def make(
        cls,
        out: str | Path = "runs",
        store: str | Path | None = None,
        data: list[str] | None = None,
        device: str = "auto",
        threads: int | None = None,
    ) -> "Setting":
        """Return the setting that the command line's words mean. The store lies beside `out` unless it is given."""
        folder = Path(out).expanduser().absolute()
        beside = folder.parent / STORE_BESIDE if store is None else Path(store).expanduser().absolute()
        return cls(folder, Store(beside), DataRoots.parse(data or []), choose_device(device, threads))

    def study_folder(self, study: Study) -> Path:
        """Return the folder of a study's records."""
        return self.out / study.name


def run(
    study: Study,
    *,
    data: list[str] | None = None,
    out: str | Path = "runs",
    store: str | Path | None = None,
    runner: str = "inline",
    device: str = "auto",
    threads: int | None = None,
    retry_failed: bool = False,
) -> Records:
    """Run what a study still lacks, and return its records.

    `data` holds `ROOT` and `NAME=PATH` texts, as `--data` does; everything else is as on the command line. Raises
    `UserError` before anything is trained where the study, the data or the setting is wrong.
    """
    setting = Setting.make(out, store, data, device, threads)
    return run_in(study, setting, runner, Console(stderr=True), retry_failed)


def run_in(study: Study, setting: Setting, runner: str, console: Console, retry_failed: bool = False) -> Records:
    """Run what a study still lacks in a setting, telling the console, and return its records."""
    if runner not in RUNNERS:
        raise unknown("--runner", runner, list(RUNNERS))
    check_names(study)
    folder = setting.study_folder(study)
    view = choose_view(console)
    try:
        catalog = Catalog(setting.roots, setting.store, view.data)
        prepare_all(study, catalog)
        plan = plan_of(study, catalog, setting)
        with RecordWriter(folder) as writer:
            writer.declare({**declaration(study), "store": str(setting.store.root)})
            writer.plan(planned_rows(plan))
            records = load(folder)
            planner = Planner(plan, lambda key: find_stage(setting.store, key), past_of(records, retry_failed))
            driver = Driver(planner, writer, setting.store, view, failed_in(records) if retry_failed else frozenset())
            announce(planner, catalog, setting, console, view)
            RUNNERS[runner](driver, Workplace(setting.store, setting.device, setting.max_pictures))
    finally:
        view.close()
    return load(folder)


def load_or_none(folder: Path) -> Records | None:
    """Return the records of a study folder, None where no study was run."""
    return load(folder) if (folder / "study.json").is_file() else None


def plan_of(study: Study, catalog: Catalog, setting: Setting) -> Plan:
    """Return the plan of a study for the devices of a setting."""
    return make_plan(study, catalog.key, lambda precision: resolve_precision(precision, setting.device))


def announce(planner: Planner, catalog: Catalog, setting: Setting, console: Console, view: View) -> None:
    """Tell what there is to do, how long it may take, and how to narrow it."""
    plan = planner.plan
    missing = planner.missing_stages()
    known = [trial for cell in plan.cells for trial in planner.trials(cell)]
    done = sum(planner.ended(trial) is not None for trial in known)
    seconds = CostModel(plan, catalog, setting.device).total(missing) * (1 - done / plan.trials) if not planner.done else 0.0
    view.begin(plan, done, len(missing), seconds)
    if planner.done:
        return
    text = (
        f"{plan.study.name}: {len(plan.cells)} cells, {plan.trials} trials ({plan.tuning_trials} to tune, "
        f"{plan.confirmation_trials} to confirm; {done} done), {len(missing)} of {len(plan.stages())} stages to build; about "
        f"{readable_seconds(seconds)} on {setting.device.label}, before early stopping. "
        "To narrow: --set NAME=VALUE on any axis or setting, --preset, --plan."
    )
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def declaration(study: Study) -> dict[str, Any]:
    """Return a study as plain values, for the records."""
    return {
        "schema_version": SCHEMA_VERSION,
        "segsweep": version("segsweep"),
        "name": study.name,
        "target": {"name": study.target.name, "classes": study.target.classes, "protocol": study.target.protocol},
        "compare": [{axis: list(values) for axis, values in grid.items()} for grid in study.grids],
        "tune": {axis: str(tuned) for axis, tuned in study.tune.items()},
        "fixed": dict(study.fixed),
        "trials_per_cell": study.trials_per_cell,
        "seeds": study.seeds,
        "source_seeds": study.source_seeds,
        "early_stopping": str(study.early_stopping) if study.early_stopping else None,
        "cells": [name for name, _ in study.cells()],
    }
