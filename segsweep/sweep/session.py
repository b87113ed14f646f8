"""A session: an open study that has passed all checks.

A plan, a rehearsal and a run open a study in the same way, so all three report the same errors. A plan differs in two ways: it
lists datasets that are not found instead of raising an error, and it does not decode datasets that the store lacks, so mistakes
that only pixels show remain undetected.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache, partial
from pathlib import Path

from segsweep.config.study import Study
from segsweep.config.user_objects import register
from segsweep.data.dataset import Notify
from segsweep.models.fixed_encoder import fixed_weights
from segsweep.records.confirmed_models import lost_models, lost_remarks
from segsweep.records.damage import INDEX
from segsweep.records.fork import load_origin
from segsweep.records.lines import declared
from segsweep.records.reader import load
from segsweep.records.study_records import Records
from segsweep.records.writer import RecordWriter
from segsweep.sweep.artifacts import Artifacts
from segsweep.sweep.budget_start import budget_of, check_least, limit_facts, limits_of, rechosen_line
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.changed import changed_line
from segsweep.sweep.cost import CostModel
from segsweep.sweep.declaration import declaration
from segsweep.sweep.folder_checks import check_folders, check_free
from segsweep.sweep.folders import Folders
from segsweep.sweep.forking import begin_fork, fork_line, forked_from, origin_of
from segsweep.sweep.ledger import Price
from segsweep.sweep.options import Options
from segsweep.sweep.outage import Outage
from segsweep.sweep.plan import Plan, make_plan
from segsweep.sweep.planned_gpus import PlannedGpus, planned_runner
from segsweep.sweep.planner import Planner
from segsweep.sweep.prediction_text import BUSY
from segsweep.sweep.preflight import check_data, check_study
from segsweep.sweep.progress import View
from segsweep.sweep.provenance import question_of_script, start_facts
from segsweep.sweep.published_weights import check_published
from segsweep.sweep.resume import resume_state
from segsweep.sweep.rounds import Budget
from segsweep.sweep.runners import Runner, most_at_once, open_runner, runner_for_plan
from segsweep.sweep.search_sampler import Observation
from segsweep.sweep.search_space import SearchSpace
from segsweep.sweep.source_scores import score_tasks
from segsweep.sweep.until_decided import looked_before
from segsweep.sweep.warm_start import warm_start
from segsweep.tasks.task import Task


class Purpose(Enum):
    """The purpose for which a study is opened."""

    RUN = "run"
    PLAN = "plan"
    CHECK = "check"


@dataclass(frozen=True)
class SessionConfig:
    """The parameters with which a study is opened: its purpose, folders and options, and the receivers of its messages.

    `view` receives the events of the driver, `notify` lines for the user. A plan with `gpus` is one for these GPUs.
    """

    purpose: Purpose
    folders: Folders
    options: Options
    view: View
    notify: Notify
    retry_failed: bool = False
    gpus: PlannedGpus | None = None


@dataclass(frozen=True)
class RunState:
    """The additional state of a session that runs: its records, open for writing, their id, and the state of outages."""

    writer: RecordWriter
    outage: Outage
    records_id: str


@dataclass(frozen=True)
class Session:
    """A study that has passed all checks: its data, its runner, and a planner that resumes the work of earlier starts.

    `records` are those of earlier starts; None if there was none. `lost` maps the ids of confirmed runs whose models are lost to
    the reason. `notices` are lines on damaged, lost or replaced work. `undecoded` names the datasets of a plan that the store
    lacks at some size. `run_state` and `earlier` exist only for a run.
    """

    config: SessionConfig
    catalog: Catalog
    runner: Runner
    planner: Planner
    costs: CostModel
    records: Records | None
    lost: Mapping[str, str]
    notices: tuple[str, ...] = ()
    undecoded: frozenset[str] = frozenset()
    _run_state: "RunState | None" = None

    @property
    def run_state(self) -> RunState:
        """The additional state of a run."""
        assert self._run_state is not None, "a session that only plans has no run state"
        return self._run_state

    @property
    def earlier(self) -> Records:
        """The records of earlier starts, empty if there was none. A run declares its study in them first."""
        assert self.records is not None
        return self.records

    @property
    def plan(self) -> Plan:
        """The plan; it grows when a source's learning rate is chosen."""
        return self.planner.plan


@contextmanager
def open_session(study: Study, config: SessionConfig) -> Iterator[Session]:
    """Check a study, prepare its data unless the purpose is a plan, and yield its session.

    For a plan or a rehearsal the runner does not start Ray and can only be used for planning. A run holds the study's records
    open for writing. Raises `UserError` for every mistake that a run would reject, with the same message for every purpose. After
    showing a plan, the caller calls `check_free`.
    """
    register(study.user_objects)  # again, because another study in this process may have other objects of the same names
    folders, options, planning = config.folders, config.options, config.purpose is Purpose.PLAN
    check_study(study, options)
    check_folders(folders.study_folder(study), folders.store)
    if not planning:
        check_free(folders.study_folder(study))
    check_published(study, folders.store, config.notify, planning=planning)
    with _opened(study, config) as runner:
        view, notify = config.view, config.notify
        catalog = Catalog(
            folders.roots, folders.store, view.data, lenient=planning, notify=notify, user_objects=study.user_objects
        )
        undecoded = check_data(study, catalog, decode=not planning)
        plan = plan_of(study, catalog, runner)
        if study.search is not None:
            SearchSpace(plan.cells, study.tune).check()
        warm, lines = ((), []) if catalog.absent else warm_start(plan, folders.out)
        for line in lines:
            notify(line)
        late: list[str] = []  # lines of the cost model, printed after those on changes
        costs = CostModel(plan, catalog, runner.device, runner.measure, late.append)  # one, so that a check and its run agree
        if config.purpose is not Purpose.RUN or limits_of(options):
            session = _resumed(plan, catalog, runner, config, warm, undecoded, costs)
            check_least(session.planner, session.records)
        if config.purpose is Purpose.RUN:
            for line in begin_fork(study, folders):
                config.notify(line)
            with RecordWriter(folders.study_folder(study)) as writer:
                session = _running_session(plan, catalog, runner, config, writer, warm, costs)
                for line in late:
                    notify(line)
                yield session
        else:
            for line in late:
                notify(line)
            yield session


def _opened(study: Study, config: SessionConfig) -> AbstractContextManager[Runner]:
    """Return the runner of a session: one that runs, one for planning, or the planned GPUs."""
    if config.gpus is not None:
        return planned_runner(config.gpus, config.options, most_at_once(study), config.folders.store)
    opened = open_runner if config.purpose is Purpose.RUN else runner_for_plan
    return opened(config.options, study, config.folders.store, config.view)


def _resumed(
    plan: Plan,
    catalog: Catalog,
    runner: Runner,
    config: SessionConfig,
    warm: Sequence[Observation],
    undecoded: frozenset[str],
    costs: CostModel,
) -> Session:
    """Return a read-only session, whose planner resumes from the records and the store."""
    folder, notices = config.folders.study_folder(plan.study), list[str]()
    own, origin = load_or_none(folder), origin_of(plan.study, config.folders)
    records = own or origin
    lost = lost_models(records.all_trials, catalog.store) if records is not None else {}
    budget = _budget(config, catalog, runner, costs, records)
    planner = _planner(plan, Artifacts(catalog.store, notices.append), config, records, lost, budget, warm)
    before = None if catalog.absent else own  # without its data every trial would have another id
    notices += [] if origin is None else [fork_line(origin)]
    notices += _what_changes(folder, before, plan, planner, lost)
    return Session(config, catalog, runner, planner, costs, records, lost, tuple(notices), undecoded)


def _running_session(
    plan: Plan,
    catalog: Catalog,
    runner: Runner,
    config: SessionConfig,
    writer: RecordWriter,
    warm: Sequence[Observation],
    costs: CostModel,
) -> Session:
    """Declare the study in its records, move damaged models to `damaged/`, and return a session that can run.

    Its planner waits while the store is unreachable.
    """
    for line in writer.notices:
        config.notify(line)
    before = load(writer.folder) if declared(writer.folder) else None
    declared_now = {**declaration(plan), "question": question_of_script(), "store": catalog.store.location}
    earlier = before if before is not None or config.folders.fork_of is None else load_origin(config.folders.fork_of)
    declared_now |= {"looked": looked_before(plan.study, earlier), "forked_from": forked_from(plan.study, config.folders)}
    records_id = writer.declare(declared_now, {**start_facts(runner), **limit_facts(config.options)})
    records = load(writer.folder) if before is None else before
    outage = _outage(config, writer.folder)
    lost = lost_models(records.all_trials, catalog.store, set_aside=True)
    artifacts = Artifacts(catalog.store, config.notify, outage)
    budget = _budget(config, catalog, runner, costs, records)
    planner = _planner(plan, artifacts, config, records, lost, budget, warm, costs.seconds)
    for line in _what_changes(writer.folder, before, plan, planner, lost):
        config.notify(line)
    run_state = RunState(writer, outage, records_id)
    return Session(config, catalog, runner, planner, costs, records, lost, _run_state=run_state)


def _planner(
    plan: Plan,
    artifacts: Artifacts,
    config: SessionConfig,
    records: Records | None,
    lost: Mapping[str, str],
    budget: Budget | None,
    warm: Sequence[Observation],
    price: Price = lambda _: 1.0,
) -> Planner:
    """Return a planner that resumes from the records and the store; a search starts from the results `warm`."""
    resume = replace(resume_state(records, plan.study.early_stopping, config.retry_failed, lost), warm=warm)
    scores = partial(score_tasks, fixed_weights=fixed_weights())
    return Planner(plan, artifacts.find, resume, artifacts.is_being_built, artifacts.reading, price, budget, score_tasks=scores)


def _budget(config: SessionConfig, catalog: Catalog, runner: Runner, costs: CostModel, records: Records | None) -> Budget | None:
    """Return the budget of a start; None without limits, and without all data: nothing has a price then."""
    if catalog.absent or not limits_of(config.options):
        return None
    share = costs.speeds.free_share
    slower = 1 / share if share < BUSY else 1.0  # as long as other processes use the machine

    def price(task: Task) -> float:
        return slower * costs.seconds(task)

    return budget_of(config.options, records, price, runner.workers, costs.tuning_share.expected)


def _what_changes(folder: Path, before: Records | None, plan: Plan, planner: Planner, lost: Mapping[str, str]) -> Iterator[str]:
    """Yield lines on confirmed runs that are rerun because their models are lost or their cell may choose again, and on recorded
    trials that are replaced."""
    yield from lost_remarks(planned_among(lost, planner))
    if before is not None and (rechosen := rechosen_line(before, planner)) is not None:
        yield rechosen
    if (changed := changed_line(folder, before, declaration(plan), planner)) is not None:
        yield changed


def _outage(config: SessionConfig, folder: Path) -> Outage:
    minutes = config.options.wait_minutes
    limit_seconds = math.inf if minutes is None else 60 * minutes
    return Outage(config.folders.store, folder, config.view.notify, limit_seconds, config.view.waiting)


def plan_of(study: Study, catalog: Catalog, runner: Runner) -> Plan:
    """Return the plan of a study for a runner's device."""
    return make_plan(study, catalog.key, cache(runner.resolve), partial(catalog.left_out, study), catalog.masks_key)


def load_or_none(folder: Path) -> Records | None:
    """Return the records of a study folder, None if no study was run there. Raises `UserError` if they are damaged."""
    return load(folder) if declared(folder) or (folder / INDEX).is_file() else None


def planned_among(lost: Mapping[str, str], planner: Planner) -> dict[str, str]:
    """Return the lost models of confirmed runs that the plan contains; these runs are repeated."""
    known = {trial.trial_id for cell in planner.plan.cells for trial in planner.trials(cell)}
    return {trial: reason for trial, reason in lost.items() if trial in known}
