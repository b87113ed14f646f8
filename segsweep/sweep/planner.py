"""The planner: decides which task runs next, in plain Python. Runners execute the tasks.

The planner imports neither torch nor Ray, and reads no files.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import replace

from segsweep.config.keep import Reading
from segsweep.config.work import StageSpec, Trial
from segsweep.sweep.built import Find, IsBeingBuilt
from segsweep.sweep.cell_state import CellState
from segsweep.sweep.decisions import (
    CellChoice,
    Chosen,
    Decision,
    Ended,
    ResumeState,
    Skipped,
    SourceChoice,
    StoppedWhilePaused,
    Suggested,
    Verdict,
)
from segsweep.sweep.early_stopping import PerCellStopping
from segsweep.sweep.ledger import Ledger, Price
from segsweep.sweep.plan import Cell, Plan, chain, with_trial
from segsweep.sweep.rounds import Budget, MorePoints, MoreSeeds, Rounds, TuningClosed
from segsweep.sweep.schedule import Schedule
from segsweep.sweep.search import POOL, SearchRun, shared_stopping
from segsweep.sweep.search_stopping import SharedStopping
from segsweep.sweep.source_rates import ReadStage, SourceRates
from segsweep.sweep.source_scores import ScoreTasks, no_scores
from segsweep.tasks.score_task import ScoreTask
from segsweep.tasks.stage_task import StageTask
from segsweep.tasks.task import Assignment, Task
from segsweep.tasks.trial_task import TrialTask


class Planner:
    """Selects the next task, applies early stopping to running trials, and chooses a setting for every cell.

    `next` returns a task that can start now. The caller then passes every result to `report`, the end of each record to
    `record_ended` and the end of the task to `task_ended`; it calls `requeue` if the task was interrupted.

    `decisions` is a queue of decisions, oldest first; its reader removes them. `choices`, `unchosen` (cells that could not
    choose a setting) and `source_choices` keep all choices by the cell's key. `workers` is the maximum number of tasks that run
    at once. `scores` holds the planned scores of sources by id; `score_tasks` returns those of a plan. With a `budget`, `rounds`
    releases the trials of all cells alike, as far as they fit.

    At least one tuning trial of a cell finishes, unless all fail. The last open trial is never stopped early. If every trial that
    was not stopped has failed, the best stopped trial is rerun from its start, then the next best, until one finishes. If the
    source's learning rate is tuned, a cell of `plan` has no trials until the rate is chosen.

    In a search, the trials of all cells are compared as those of one cell. The search begins when all source rates are chosen;
    then `next` adds a suggested trial to `plan` whenever a worker is free for it.
    """

    def __init__(
        self,
        plan: Plan,
        find: Find,
        resume: ResumeState | None = None,
        is_being_built: IsBeingBuilt = lambda kind, key: False,  # noqa: ARG005
        read_stage: ReadStage = lambda _: 0.0,
        price: Price = lambda _: 1.0,
        budget: Budget | None = None,
        score_tasks: ScoreTasks = no_scores,
    ) -> None:
        resume = resume or ResumeState()
        self.plan = plan
        self.workers = budget.workers if budget is not None else 1
        self.decisions: deque[Decision] = deque()
        self.choices: dict[str, CellChoice] = {}
        self.unchosen: dict[str, CellChoice] = {}
        self.source_choices: dict[str, SourceChoice] = {}
        ranks = {cell.key: number for number, cell in enumerate(plan.cells)}
        self._ledger = budget.ledger if budget is not None else Ledger()
        self._schedule = Schedule(find, is_being_built, price, ranks, self._ledger)
        self._schedule.failed |= resume.failed_stages
        self._price = price
        self._ended = dict(resume.ended)
        self._curves = resume.curves
        self._stopping: PerCellStopping | SharedStopping = PerCellStopping(plan.study.early_stopping)
        self._search: SearchRun | None = None
        if plan.study.search is not None:
            self._stopping = shared = shared_stopping(plan)
            self._search = SearchRun(plan.study.search, self._ended, shared, resume.searched, resume.warm)
            ranks[POOL] = 0
        self._states: dict[str, CellState] = {}  # key of a cell whose trials are known -> its state
        self._states_of: dict[str, list[CellState]] = defaultdict(list)  # id of a trial -> the cells that share it
        self._confirm_seconds: dict[str, float] = {}  # key of a cell -> price of one confirmed run
        self._resumed_at: dict[str, int] = {}  # id of a resumed trial -> the epoch after which it had paused
        self._unsettled: deque[CellState] = deque()
        self.scores: dict[str, ScoreTask] = {}
        self._score_tasks = score_tasks
        self._may_release = budget is not None  # whether the budget may allow more than is scheduled
        self._scores_of: dict[str, list[ScoreTask]] = defaultdict(list)  # id of an unbuilt stage -> scores that wait for it
        built, failed = self._schedule.built, self._schedule.failed
        self._rates = SourceRates(plan.cells, built, failed, resume.stage_readings, read_stage, resume.retried_stages)
        self.rounds: Rounds | None = None
        if budget is not None:
            readings, closed_at, workers = resume.confirm_curves, budget.closed_at, budget.workers
            self.rounds = Rounds(
                plan, budget.ledger, self._schedule, self._states, self.scores, self._ended, readings, closed_at, workers
            )
        self._begin([cell for cell in plan.cells if cell.key not in self._rates.cells])
        self._decide_sources(list(self._rates.cells.values()))
        self._settle()
        self._add_scores()
        self._settle()
        while self._schedule.done and self._release():
            pass

    # --- What runs next ---------------------------------------------------------------------------------------------------

    def next(self) -> Assignment | None:
        """Return a task that can start now, or None.

        If nothing runs, None means that the study is `done`, or that another run is building an artifact that this one needs.
        """
        self._suggest()  # first, because a trial starts before the scores of sources
        assignment = self._schedule.next(self.workers)
        # a stage from another run can complete a source choice, which adds trials; so does a search
        while (self._settle() or (assignment is None and self._suggest())) and assignment is None:
            assignment = self._schedule.next(self.workers)
        while assignment is None and self._release():
            assignment = self._schedule.next(self.workers)
        return assignment

    def began(self, task: Task) -> None:
        """Note that a worker begins a task that `next` has returned; until then its time does not count."""
        self._ledger.start(task)

    def postponed(self, task: Task) -> None:
        """Note that a task has left its worker and waits until `requeue`, which costs no device time."""
        self._ledger.leave(task)

    @property
    def done(self) -> bool:
        """Whether the study is over: nothing runs, and no task is left that the budget still allows."""
        may_suggest = self._search is not None and self._search.is_due(self.workers)
        return self._schedule.done and not self._may_release and not may_suggest

    def add(self, task: Task) -> None:
        """Schedule a task that is not part of the plan."""
        self._schedule.add(task)
        self._settle()

    def requeue(self, task: Task) -> None:
        """Return a started task that was interrupted to the queue."""
        self._schedule.requeue(task)
        self._settle()

    def recheck_artifacts(self) -> None:
        """Look up all artifacts again because one is lost: needed artifacts that the store lacks are rebuilt."""
        self._schedule.recheck_artifacts()
        self._settle()

    # --- Results and ends of tasks ----------------------------------------------------------------------------------------

    def report(self, task: Task, record: str, epoch: int, found: Reading) -> Verdict:
        """Record the reading of one epoch, and return whether the trial continues. Confirmed runs always continue.

        Cells that differ only in settings that do not affect tuning, such as `test_size`, share their tuning trials; a shared
        trial continues as long as one of its cells needs it. A task with several records never pauses, and stops when all its
        records have ended.
        """
        states = [state for state in self._states_of.get(record, ()) if record in state.tuning]
        if not states:
            if self.rounds is not None:
                self.rounds.note(record, found)
            return Verdict.CONTINUE
        trial = states[0].tuning[record]
        for state in states:
            self._stopping.report(state.cell.key, record, epoch, found)
        is_repeated = epoch <= self._resumed_at.get(record, 0)  # a resumed trial repeats epochs that were judged before its pause
        verdict = Verdict.CONTINUE if is_repeated else self._judge(states, trial, epoch)
        if verdict is Verdict.PAUSE:
            verdict = self._pause(task, states, trial, epoch)
        for state in states:
            self._revisit(state)
        return verdict

    def _judge(self, states: list[CellState], trial: Trial, epoch: int) -> Verdict:
        """Return the verdict on a trial after a reported epoch, combined over all cells that share it."""
        verdicts = [self._stopping.judge(state.cell.key, trial.trial_id, epoch, trial.settings.results) for state in states]
        if Verdict.CONTINUE in verdicts or any(state.is_last(trial) for state in states):
            return Verdict.CONTINUE
        return Verdict.PAUSE if Verdict.PAUSE in verdicts else Verdict.STOP

    def record_ended(self, record: str, ended: Ended) -> None:
        """Record how one of a task's records ended. Decisions that depend on it are made in `task_ended`."""
        self._ended[record] = ended
        for state in self._states_of.get(record, ()):
            self._stopping.ended(state.cell.key, record, ended.status)
            state.record(record, ended)
            self._unsettled.append(state)

    def task_ended(self, task: Task, error: str | None = None) -> None:
        """Record that a task has ended. If it failed with `error`, skip the tasks that need its artifact."""
        self._schedule.ended(task, error)
        self._may_release = self.rounds is not None
        self._settle()

    # --- State ------------------------------------------------------------------------------------------------------------

    @property
    def trials_done(self) -> int:
        """The number of ended trials among those known so far."""
        return sum(len(self.ended(cell)) for cell in self.plan.cells)

    def ended(self, cell: Cell) -> dict[str, Ended]:
        """Return the ended trials of a cell: id -> how it ended."""
        known = (trial.trial_id for trial in self.trials(cell))
        return {trial: self._ended[trial] for trial in known if trial in self._ended}

    def trials(self, cell: Cell) -> tuple[Trial, ...]:
        """Return the trials of a cell that are known so far: its tuning trials and, after the choice, its confirmed runs."""
        if self.is_undecided(cell):
            return ()
        choice = self.choices.get(cell.key)
        return (*cell.tuning, *(choice.confirm if choice else ()))

    def cells_of(self, task: Task) -> list[str]:
        """Return the names of the cells that a task belongs to; several cells can share a tuning trial."""
        states = () if self._search is not None else self._states_of.get(task.identity, ())
        names = [state.cell.name for state in states]
        return names or ([task.cell] if task.cell is not None else [])

    def is_undecided(self, cell: Cell) -> bool:
        """Return whether a cell's trials wait for the choice of its source's learning rate."""
        return cell.key in self._rates.cells

    def is_built(self, task: Task) -> bool:
        """Return whether a task's artifact is in the store."""
        return self._schedule.built.is_built(task)

    def built(self, task: Task) -> tuple[str, str]:
        """Return the key and the content hash of an artifact that is in the store."""
        return self._schedule.built.key(task), self._schedule.built.content_hash(task)

    def missing_stages(self) -> list[StageSpec]:
        """Return the unbuilt stages that waiting trials need."""
        needed = {stage.spec_id for cell in self._rates.cells.values() for last in cell.stages for stage in chain(last)}
        needed.update(task.identity for task in self._schedule)
        if self._search is not None and not self._search.is_complete:  # it can suggest any source
            needed.update(self.plan.stage_ids)
        return self.unbuilt(stage for stage in self.plan.stages() if stage.spec_id in needed)

    def all_scores(self) -> list[tuple[ScoreTask, bool]]:
        """Return all scores of the plan, and whether each has ended. Those of undecided sources have provisional ids."""
        return [(task, task.identity in self._ended) for task in self._score_tasks(self.plan, ())]

    def unbuilt(self, stages: Iterable[StageSpec]) -> list[StageSpec]:
        """Return the stages among `stages` that are not built."""
        return [stage for stage in stages if not self.is_built(StageTask(stage))]

    # --- Decisions --------------------------------------------------------------------------------------------------------

    def _begin(self, cells: list[Cell]) -> None:
        """Schedule the trials of cells whose source is chosen. Cells that share trials must be passed in one call."""
        if self._search is not None:
            self._begin_search(self._search)
            return
        for cell in cells:
            self._refill(cell)
            points = self.rounds.points if self.rounds is not None else None
            state = self._states[cell.key] = CellState(cell, self._ended, self._stopping, points)
            for trial in state.cell.tuning:
                self._states_of[trial.trial_id].append(state)
        for cell in cells:
            self._schedule_tuning(cell, self._states[cell.key].cell.tuning)
            self._unsettled.append(self._states[cell.key])

    def _schedule_tuning(self, cell: Cell, trials: Iterable[Trial]) -> None:
        for trial in trials:
            if trial.trial_id not in self._ended:  # do not compute a price for an ended trial
                self._schedule_trial(trial, self._confirm_price(cell))

    def _release(self) -> bool:
        """Schedule what the budget allows next; return whether anything was released or decided."""
        step = self.rounds.advance(self.plan, self.workers) if self.rounds is not None else None
        match step:
            case None:
                self._may_release = False
            case MorePoints(points) | TuningClosed(points):
                for state in self._states.values():
                    more = state.limit(points)
                    for trial in more:
                        self._states_of[trial.trial_id].append(state)
                    self._schedule_tuning(state.cell, more)
                    self._unsettled.append(state)
            case MoreSeeds(trials):
                for trial in trials:
                    self._schedule_trial(trial, 0.0)
        self._settle()
        return step is not None

    def _begin_search(self, search: SearchRun) -> None:
        """Begin a search once all source rates are chosen, and continue the trials of earlier starts."""
        if self._rates.cells or search.is_begun:
            return
        for trial in search.begin(self.plan):
            self._add_searched(trial)
        self._refill(search.state.cell)
        search.state.restored()
        self._unsettled.append(search.state)

    def _add_searched(self, trial: Trial) -> None:
        """Add a trial of the search to the plan, and schedule it unless it has ended."""
        assert self._search is not None
        self.plan = with_trial(self.plan, trial)
        self._states_of[trial.trial_id].append(self._search.state)
        cell = next(cell for cell in self.plan.cells if cell.name == trial.cell)
        self._schedule_trial(trial, self._confirm_price(cell))

    def _suggest(self) -> bool:
        """Add the next trial of a search if one is due; return whether anything has changed."""
        search = self._search
        if search is None or not search.is_due(self.workers):
            return False
        trial = search.next()
        if trial is None:  # no new combination is left
            self._unsettled.append(search.state)
        else:
            self._add_searched(trial)
            self.decisions.append(Suggested(trial))
        return True

    def _refill(self, cell: Cell) -> None:
        """Pass the recorded curves of a cell's tuning trials to early stopping."""
        for trial in cell.tuning:
            for epoch, found in self._curves.get(trial.trial_id, {}).items():
                self._stopping.report(cell.key, trial.trial_id, epoch, found)
            if trial.trial_id in self._ended:
                self._stopping.ended(cell.key, trial.trial_id, self._ended[trial.trial_id].status)

    def _schedule_trial(self, trial: Trial, after_seconds: float) -> None:
        if trial.trial_id not in self._ended:
            self._schedule.add(TrialTask(trial), self._states_of[trial.trial_id][0].cell.key, after_seconds)

    def _confirm_price(self, cell: Cell) -> float:
        """Return the price of one confirmed run of a cell: the work that follows each of its tuning trials."""
        if cell.key not in self._confirm_seconds:
            runs = cell.confirm(cell.settings)[:1]
            self._confirm_seconds[cell.key] = sum(self._price(TrialTask(run)) for run in runs)
        return self._confirm_seconds[cell.key]

    def _settle(self) -> bool:
        """Make all pending decisions: skip tasks that cannot run, choose source rates, choose settings.

        One decision can lead to another, so repeat until none is pending. Return whether any was pending.
        """
        schedule, found = self._schedule, False
        while schedule.unreachable or schedule.settled or self._unsettled:
            found = True
            if schedule.unreachable:
                self._skip(*schedule.unreachable.popleft())
            elif schedule.settled:
                self._stage_settled(schedule.settled.popleft())
            else:
                self._choose(self._unsettled.popleft())
        return found

    def _skip(self, task: Task, failed: Task) -> None:
        """Skip a task that needs a failed one; only once if several cells share it."""
        if self._ended.keys() >= set(task.records):
            return
        states = self._states_of.get(task.identity, ())
        rates = max((len(state.cell.source_rates) for state in states), default=0)
        each = f" with each of {rates} learning rates" if rates else ""
        reason = f"source {failed.name} failed{each}: {self._schedule.failed[failed.identity]}"
        self.decisions.append(Skipped(task, reason))
        for record in task.records:
            self.record_ended(record, Ended("skipped", error=reason))

    def _decide_sources(self, cells: list[Cell]) -> None:
        """Choose the source's learning rate of cells that have tried all rates, and schedule their trials.

        For the other cells, schedule the stages of the untried rates.
        """
        decided = {}
        for cell in cells:
            untried = self._rates.untried(cell)
            for last in untried:
                self._schedule.add(StageTask(last), after_seconds=self._tuning_price(cell))
            if not untried:
                choice, decided[cell.key] = self._rates.choose(cell)
                self.source_choices[cell.key] = choice
                self.decisions.append(choice)
        if decided:
            self.plan = replace(self.plan, cells=tuple(decided.get(cell.key, cell) for cell in self.plan.cells))
            self._begin(list(decided.values()))
            self._add_scores()

    def _stage_settled(self, identity: str) -> None:
        """Decide what depends on a stage that is built, or never can be."""
        self._decide_sources(self._rates.waiting_for(identity))
        for task in self._scores_of.pop(identity, ()):
            self._schedule.add(task)

    def _add_scores(self) -> None:
        """Schedule the scores of sources that are chosen. They wait until a trial needs their stage, and cause no training."""
        for task in self._score_tasks(self.plan, self._rates.cells.keys()):
            if task.identity in self.scores:
                continue
            self.scores[task.identity] = task
            unbuilt = [need.identity for need in task.needs if not self.is_built(need)]
            if task.identity not in self._ended and unbuilt:
                self._scores_of[unbuilt[0]].append(task)
            elif task.identity not in self._ended:
                self._schedule.add(task)

    def _tuning_price(self, cell: Cell) -> float:
        """Return the price of the work that follows a source's stages: one tuning trial and one confirmed run."""
        return sum(self._price(TrialTask(trial)) for trial in cell.tuning[:1]) + self._confirm_price(cell)

    def _choose(self, state: CellState) -> None:
        """Choose a cell's setting once all its tuning trials have ended; rerun its best stopped trial if none finished."""
        is_open = not self.rounds.is_closed if self.rounds is not None else bool(self._search and not self._search.is_complete)
        if not state.tuned or state.choice is not None or is_open:
            self._revisit(state)
            return
        if (best := state.best_stopped()) is not None:
            self._reopen(best)
            return
        if self._search is not None:
            for key, choice in self._search.choose(self.plan.cells).items():
                self._set_choice(state, key, choice)
        else:
            self._set_choice(state, state.cell.key, state.choose(self.plan.study.tune))

    def _set_choice(self, state: CellState, key: str, choice: CellChoice) -> None:
        """Record the choice of the cell `key`, and schedule its confirmed runs."""
        state.choice = choice
        (self.unchosen if choice.reason else self.choices)[key] = choice
        self.decisions.append(Chosen(key, choice))
        for trial in choice.confirm:
            self._states_of[trial.trial_id].append(state)
            if self.rounds is None:
                self._schedule_trial(trial, 0.0)

    def _reopen(self, trial: Trial) -> None:
        del self._ended[trial.trial_id]
        self._resumed_at.pop(trial.trial_id, None)
        for state in self._states_of[trial.trial_id]:
            self._stopping.reopened(state.cell.key, trial.trial_id)
            state.reopen(trial)
        self._schedule_trial(trial, self._confirm_price(self._states_of[trial.trial_id][0].cell))

    # --- Pauses -----------------------------------------------------------------------------------------------------------

    def _pause(self, task: Task, states: list[CellState], trial: Trial, epoch: int) -> Verdict:
        """Pause a trial after an epoch, unless it is the last epoch or the task has several records."""
        if epoch == trial.settings.results or len(task.records) > 1:
            return Verdict.CONTINUE
        self._schedule.pause(task)
        for state in states:
            state.paused[trial.trial_id] = epoch
        return Verdict.PAUSE

    def _revisit(self, state: CellState) -> None:
        """Judge a cell's paused trials again, with its new readings. Resume the best one if all open trials are paused."""
        for identity, epoch in list(state.paused.items()):
            trial = state.tuning[identity]
            verdict = self._judge(self._states_of[identity], trial, epoch)
            if verdict is Verdict.CONTINUE:
                self._resume(trial, epoch)
            elif verdict is Verdict.STOP:
                self._stop(trial)
        if (best := state.all_paused()) is not None:
            self._resume(best, state.paused[best.trial_id])

    def _resume(self, trial: Trial, epoch: int) -> None:
        self._resumed_at[trial.trial_id] = epoch
        self._leave_pause(trial)
        self._schedule.resume(TrialTask(trial))

    def _stop(self, trial: Trial) -> None:
        """Stop a paused trial: the reader of the decision writes the record and calls `record_ended`."""
        self._leave_pause(trial)
        self.decisions.append(StoppedWhilePaused(TrialTask(trial)))

    def _leave_pause(self, trial: Trial) -> None:
        for state in self._states_of[trial.trial_id]:
            state.paused.pop(trial.trial_id, None)
