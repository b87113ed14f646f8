"""Running a study from its declaration to its records."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from segsweep.config.study import Study
from segsweep.config.user_objects import for_workers
from segsweep.console import error_console
from segsweep.context import ExecutionContext
from segsweep.errors import UserError, unknown
from segsweep.records.reader import load
from segsweep.records.study_records import Records
from segsweep.records.wandb.launch import mirroring
from segsweep.records.wandb.options import MirrorOptions
from segsweep.sweep.announce import announce, prediction
from segsweep.sweep.driver import Driver
from segsweep.sweep.folder_checks import check_mirror
from segsweep.sweep.folders import Folders
from segsweep.sweep.options import Options
from segsweep.sweep.outcome import Outcome
from segsweep.sweep.preparation import prepare_all
from segsweep.sweep.reporting import reporting
from segsweep.sweep.resume import earlier_progress, ids_to_restart
from segsweep.sweep.session import Purpose, Session, SessionConfig, open_session
from segsweep.sweep.shorter_runs import shorter_runs
from segsweep.sweep.signals import interruptible
from segsweep.sweep.until_decided import at_last_look, next_look


def run(
    study: Study,
    *,
    data: str | Path | Sequence[str | Path] | None = None,
    out: str | Path = "runs",
    store: str | Path | None = None,
    retry_failed: bool = False,
    fork: str | None = None,
    mirror: MirrorOptions | str = "off",
    **options: Any,
) -> Records:
    """Run a study, and return its records. Work that is already done is not repeated.

    Args:
        study: The study to run.
        data: Folder with datasets, or several of them, as for `--data`: `ROOT`, or `NAME=PATH` for a single dataset.
        out: Folder of study folders; the records are written to `out/STUDY`.
        store: Folder or address of the store; by default the folder `store` beside `out`.
        retry_failed: Whether to run failed trials and stages again.
        fork: Name of a variant. It is run in place of the study, and starts from the study's records: trials that both contain
            are not repeated.
        mirror: What is sent to W&B: a mode such as `online`, or `MirrorOptions`.
        **options: Fields of `segsweep.sweep.options.Options`, as on the command line: `runner` (`ray` or `inline`), `device`,
            `threads`, `gpus_per_trial`, `max_concurrent`, `workers_per_stage`, `workers_per_trial`, `deterministic`,
            `wait_minutes`, `wait_for_nodes`, `keep_checkpoints`, `budget_hours` (the largest device time of the study over all
            starts, in hours of one worker's device), `deadline` (a datetime, or a text such as `07:00` or `+8h`).

    Raises:
        UserError: The study, the data or an option is wrong, or not even the least part of the study fits `budget_hours` or
            `deadline`. Nothing has been trained.
        OutageError: A full disk, a lost store or missing machines have blocked the study for longer than `wait_minutes` (or
            `wait_for_nodes`, before the first worker).
    """
    for name in options:
        if name not in Options.__dataclass_fields__:
            names = [*("data", "out", "store", "retry_failed", "fork", "mirror"), *Options.__dataclass_fields__]
            raise unknown("run", name, names, "help(segsweep.run)")
    folders = Folders.make(out, store, _data_texts(data))
    if fork is not None:
        folders, study = folders.forked(study, fork)
    console, asked = error_console(), MirrorOptions(mirror) if isinstance(mirror, str) else mirror
    check_mirror(asked, folders.study_folder(study))
    with mirroring(folders.study_folder(study), asked, partial(console.print, soft_wrap=True)):
        return run_in(study, folders, Options(**options), console, retry_failed)


def _data_texts(data: object) -> list[str]:
    """Return the folders of datasets as `--data` takes them. Raises `UserError` for anything but texts and paths."""
    several = list(data) if isinstance(data, list | tuple) else [] if data is None else [data]
    for each in several:
        if not isinstance(each, str | Path):
            raise UserError(f"run: data={data!r}: must be a folder as a text or Path, or a list of them")
    return [str(each) for each in several]


def run_in(study: Study, folders: Folders, options: Options, console: Console, retry_failed: bool = False) -> Records:
    """Run the unfinished work of a study in `folders`, show its progress on the console, and return its records.

    A study that adds seeds until its questions are decided runs once per look.
    """
    study = at_last_look(study, folders.study_folder(study))
    while True:
        records = _run_once(study, folders, options, console, retry_failed)
        following, line = next_look(study, records)
        if line:
            console.print(line, soft_wrap=True)
        if following is None:
            return records
        study = following


def _run_once(study: Study, folders: Folders, options: Options, console: Console, retry_failed: bool) -> Records:
    with interruptible(), reporting(folders.study_folder(study), console) as view:
        config = SessionConfig(Purpose.RUN, folders, options, view, view.notify, retry_failed)
        with open_session(study, config) as session:
            driver = _driver(session)
            predicted = prediction(session)
            announce(session, earlier_progress(session.planner, session.earlier), predicted)
            if predicted is not None:
                outcome = Outcome.begin(session, predicted)
                session.runner.run(driver, _context(session))
                driver.note_decisions()
                session.config.view.notify(outcome.end(session))
            driver.note_decisions()
    return load(folders.study_folder(study))


def _context(session: Session) -> ExecutionContext:
    """Return the execution context that all workers use."""
    folders = session.config.folders
    return ExecutionContext(
        folders.store,
        session.runner.device,
        session.run_state.records_id,
        folders.max_images,
        user_objects=for_workers(session.plan.study.user_objects),
        shorter_runs=shorter_runs(session),
    )


def _driver(session: Session) -> Driver:
    """Return the driver of a session, after writing the plan and the decisions that follow from earlier starts."""
    run_state, stages = session.run_state, session.earlier.all_stages
    driver = Driver(
        session.planner,
        run_state.writer,
        session.catalog.store,
        session.config.view,
        run_state.outage,
        run_state.records_id,
        from_scratch=ids_to_restart(session.earlier, session.lost),
        recorded=set(stages["stage_id"][stages["status"] == "finished"]),
        prepare=partial(prepare_all, session.plan.study, session.catalog),
        keep_checkpoints=session.config.options.keep_checkpoints,
    )
    driver.write_plan()
    driver.note_decisions()  # records the choices, whose confirmed runs the plan alone does not name
    return driver
