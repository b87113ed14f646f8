"""The driver: connects the planner with a runner. It is the only writer of records."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from segsweep.errors import OutageError
from segsweep.records.driver_status import WorkerInfo
from segsweep.records.writer import Moment, RecordWriter
from segsweep.store.faults import Fault, fault_in, fault_of
from segsweep.store.protocol import Store
from segsweep.sweep.decisions import Chosen, Ended, Skipped, SourceChoice, StoppedWhilePaused, Suggested, Verdict
from segsweep.sweep.outage import Outage, retrying
from segsweep.sweep.planner import Planner
from segsweep.sweep.progress import View
from segsweep.sweep.rows import choice_columns, planned_rows
from segsweep.tasks.kinds import KINDS
from segsweep.tasks.messages import Blocked, BuiltElsewhere, Done, Failed, Finished, Lost, Message, Result, Started
from segsweep.tasks.stage_task import StageTask
from segsweep.tasks.task import Assignment, Row, Task

DEATHS = 3  # a task fails after this many deaths of its workers without a new epoch in between
REBUILDS = 3  # a task that finds artifacts lost more often than this ends the run: the disk cannot be trusted


@dataclass
class Driver:
    """Assigns tasks to a runner, handles their messages, and writes records.

    A runner calls `next_task` for a task, `begin` when the task starts, and `handle` for every message of it; if `handle` returns
    False, the task has ended, is paused, or must be stopped. If the task does not end, the runner calls `died` or `interrupt`.

    A task that a fault of the environment blocks is postponed and assigned again after the delay that `outage` sets; until then
    the planner counts it as running. `prepare` prepares the datasets again after one is lost. Every method waits while records
    cannot be written, and raises `OutageError` if that exceeds the time limit of `outage`.
    """

    planner: Planner
    writer: RecordWriter
    store: Store
    view: View
    outage: Outage
    records_id: str = ""
    from_scratch: frozenset[str] = frozenset()  # records that were stopped or failed: their next start discards earlier epochs
    recorded: set[str] = field(default_factory=set)  # ids of stages that the records show as finished
    prepare: Callable[[], None] = lambda: None
    keep_checkpoints: bool = False  # of finished trials, so that longer ones can continue them
    _begun: dict[str, Moment] = field(default_factory=dict)  # id of a task on a worker -> when it began
    _open: set[str] = field(default_factory=set)  # records whose start is written and whose end is not
    _left: dict[str, set[str]] = field(default_factory=dict)  # id of a task -> its records that have not ended
    _best: dict[str, Result] = field(default_factory=dict)  # record -> the result whose weights are kept
    _epochs: dict[str, int] = field(default_factory=dict)  # record -> its last epoch
    _reached: Counter[str] = field(default_factory=Counter)  # id of a task -> its highest epoch in this run, over all attempts
    _postponed: list[tuple[float, Task]] = field(default_factory=list)  # (monotonic time of the next attempt, task)
    _losses: Counter[str] = field(default_factory=Counter)  # id of a task -> how often the store had lost an artifact it needs
    _deaths: Counter[str] = field(default_factory=Counter)  # id of a task -> deaths of its workers since its last new epoch

    def __post_init__(self) -> None:
        self.writer = retrying(self.writer, self.outage)

    # --- Interface for runners --------------------------------------------------------------------------------------------

    def next_task(self) -> Assignment | None:
        """Return a task that can start now; None if there is none, or during an outage."""
        if not self.outage.ready():
            return None
        now = time.monotonic()
        for task in [task for until, task in self._postponed if until <= now]:
            self.planner.requeue(task)
        self._postponed = [(until, task) for until, task in self._postponed if until > now]
        self.note_decisions()
        assignment = self.planner.next()
        self.note_decisions()  # the trial that a search has suggested belongs to the plan before it starts
        return assignment

    def begin(self, task: Task) -> None:
        """Note that a worker starts a task. The start of its records is written with its first message."""
        self._begun[task.identity] = Moment.now()
        self.planner.began(task)
        self._note_needs(task)
        self.view.started(task)

    def handle(self, task: Task, message: Message) -> bool:
        """Handle one message of a running task, and return whether the task continues."""
        record, body = message.record or task.identity, message.body
        if isinstance(body, BuiltElsewhere):
            self._begun.pop(task.identity, None)
            self.view.postponed(task, "another run builds it")
            self.planner.requeue(task)
            return False
        if isinstance(body, Started) and (note := body.facts.get("note")):
            self.from_scratch |= {record}
            self.view.notify(f"{task.describe()}: {note}")
        if not isinstance(body, Done):
            self._write_start(task)
        match body:
            case Started(facts):
                self.writer.facts(record, facts)
                self.view.placed(task, WorkerInfo(body.machine, str(facts.get("device", "")), task.identity))
            case Finished(facts, tables, artifact):
                made = {} if artifact is None else {"key": artifact.key, "content_hash": artifact.content_hash}
                return self._end(task, record, "finished", {**self._best_columns(record), **facts, **made}, tables)
            case Done():
                assert not self._left.get(task.identity), f"{task.describe()} ended without an outcome"
            case Failed(reason, trace):
                return self._fail(task, message.record, reason, trace)
            case Blocked(fault):
                return self._blocked(task, fault)
            case Lost():
                return self._lost(task, body)
            case _:
                return self._result(task, record, body)
        return not isinstance(body, Done)

    def died(self, task: Task, reason: str, *, counts: bool = True) -> None:
        """Handle the death of a task's worker: reschedule the task, or mark it failed after `DEATHS` deaths without progress.

        Pass `counts=False` if the machine died or the worker was preempted. Deaths during an outage do not count either, and a
        new epoch resets the count. If the process died before the task began, nothing is written.
        """
        if (fault := fault_in(reason, self.store.location) or self.outage.fault) is not None:
            self._blocked(task, fault)
            return
        self._deaths[task.identity] += counts
        if self._deaths[task.identity] >= DEATHS:
            self._write_start(task)
            self._fail(task, None, f"its worker died {DEATHS} times without completing a new epoch; last cause: {reason}", None)
            return
        self._write_interrupted(task, f"its worker died: {reason}")
        self.planner.requeue(task)

    def interrupt(self, task: Task, reason: str = "interrupted by the user") -> None:
        """Record that a task was interrupted by the end of the run. The next start resumes it, even if this cannot be written."""
        self.outage.end()
        try:
            for record in self._open.intersection(task.records):
                self.writer.end(record, "interrupted", {"error": reason})
        except Exception as error:
            if fault_of(error) is None:
                raise

    # --- Results, interruptions and ends of tasks -------------------------------------------------------------------------

    def _blocked(self, task: Task, fault: Fault) -> bool:
        """Postpone a task that a fault of the environment blocks. It keeps its checkpoints and does not fail."""
        seconds = self.outage.back_off(task.identity, fault)
        self._write_interrupted(task, str(fault))
        self.planner.postponed(task)
        self._postponed.append((time.monotonic() + seconds, task))
        return False

    def _lost(self, task: Task, lost: Lost) -> bool:
        """Rebuild a lost artifact, then reschedule the task that needs it.

        The planner schedules the task that makes the artifact; a prepared dataset is prepared here, at once. Raises `OutageError`
        if the same task has found an artifact lost more than `REBUILDS` times.
        """
        self._losses[task.identity] += 1
        if self._losses[task.identity] > REBUILDS:
            raise OutageError(
                f"{lost.kind} {lost.key} in the store was lost again after {REBUILDS} rebuilds: {lost.reason}; "
                "check the store's disk. Finished work is kept: the same command continues"
            )
        self._write_interrupted(task, f"{lost.kind} {lost.key} is lost: {lost.reason}; it is rebuilt")
        if lost.kind in {kind.artifact for kind in KINDS.values()}:
            self.planner.recheck_artifacts()
        else:
            self.outage.retry(self.prepare)
        self.planner.requeue(task)
        return False

    def _write_interrupted(self, task: Task, reason: str) -> None:
        """Write and show that a task was interrupted, and why. Nothing is written if it had not begun."""
        if task.identity in self._begun or self._open.intersection(task.records):
            self._write_start(task)
            for record in self._left[task.identity]:
                self._open.discard(record)
                self.writer.end(record, "interrupted", {"error": reason})
        self.view.postponed(task, reason)

    def _write_start(self, task: Task) -> None:
        """Write the start of a task's records, once per start of the task."""
        left = self._left.setdefault(task.identity, set(task.records))
        if left <= self._open:
            return
        begun = self._begun.pop(task.identity, None)
        for record in (record for record in task.records if record in left - self._open):
            self._open.add(record)
            columns = {**task.columns(record), "study": self.planner.plan.study.name}
            again = record in self.from_scratch or record in self.recorded  # recorded: a finished stage that was lost
            self.writer.start(KINDS[task.kind].table.name, record, columns, again=again, begun=begun)
            self.from_scratch -= {record}
            self.recorded.discard(record)

    def _result(self, task: Task, record: str, result: Result) -> bool:
        """Write a result, and return whether the task continues."""
        if record not in self._left[task.identity]:
            return True  # this record was stopped before; the task continues for its other records
        self.writer.epoch(record, result.row)
        self.view.epoch(task, result)
        if result.epoch > self._reached[task.identity]:
            self._reached[task.identity] = result.epoch
            del self._deaths[task.identity]
            self.outage.progressed(task.identity)
        if task.keep is None:
            return True
        self._epochs[record] = result.epoch
        if result.best:
            self._best[record] = result
        verdict = self.planner.report(task, record, result.epoch, result.reading(task.keep))
        if verdict is Verdict.CONTINUE or result.epoch == task.results:
            return True
        return self._pause(task, result.epoch) if verdict is Verdict.PAUSE else self._stop(task, record)

    def _pause(self, task: Task, epoch: int) -> bool:
        """Write that a task is paused. It keeps its checkpoints, and the planner resumes it."""
        for record in task.records:
            self._open.discard(record)
            self.writer.end(record, "paused", {})
        self.view.postponed(task, f"paused after epoch {epoch}")
        return False

    def _stop(self, task: Task, record: str) -> bool:
        self.from_scratch |= {record}
        stopped_by = str(self.planner.plan.study.early_stopping)
        return self._end(task, record, "stopped", {**self._best_columns(record), "stopped_by": stopped_by})

    def _fail(self, task: Task, record: str | None, reason: str, trace: str | None) -> bool:
        """Write that one record of a task failed, or all its open records if `record` is None.

        Return whether the task continues for other records.
        """
        if trace is not None:
            path = self.writer.trace(record or task.identity, trace)
            reason = f"{reason} (traceback: {path.relative_to(self.writer.folder.parent)})"  # records may leave this machine
        failed = [record] if record is not None else [each for each in task.records if each in self._left[task.identity]]
        continues = True
        for each in failed:
            continues = self._end(task, each, "failed", {"error": reason, **self._best_columns(each)})
        return continues

    def _end(
        self,
        task: Task,
        record: str,
        status: str,
        columns: Mapping[str, Any],
        tables: Mapping[str, Sequence[Row]] = MappingProxyType({}),
    ) -> bool:
        """Write how a record ended, and return whether its task continues for other records."""
        left = self._left[task.identity]
        if record not in left:
            return bool(left)
        self._open.discard(record)
        self.writer.end(record, status, columns, tables)
        self.outage.progressed(task.identity)
        left.discard(record)
        error = columns.get("error") if status == "failed" else None
        self.planner.record_ended(record, Ended(status, error))
        if not left:
            self._task_ended(task, status, error)
        self.view.ended(task, status, columns, self.planner.cells_of(task))
        self.note_decisions()
        return bool(left)

    def _task_ended(self, task: Task, status: str, error: str | None) -> None:
        """Remove the checkpoints of a task whose records have all ended, unless they are kept; then notify the planner."""
        del self._left[task.identity]
        if KINDS[task.kind].artifact is not None and status == "finished":
            self.recorded |= set(task.records)
        is_kept = self.keep_checkpoints and status == "finished"
        if not is_kept and (checkpoints := task.checkpoints_id(self.records_id)) is not None:
            self.store.checkpoints(checkpoints).clear()
        self.planner.task_ended(task, error)

    def _best_columns(self, record: str) -> dict[str, Any]:
        """Return the validation measures of the epoch whose weights are kept, as columns of the record."""
        best = self._best.pop(record, None)
        epochs_run = self._epochs.pop(record, 0)
        if best is None:
            return {}
        return {"epochs_run": epochs_run, "best_epoch": best.epoch, **best.record_columns}

    # --- Decisions of the planner -----------------------------------------------------------------------------------------

    def _note_needs(self, task: Task) -> None:
        """Record the needed artifacts that the store already had: built for another study or by another run."""
        for need in task.needs:
            self._note_made(need)

    def _note_made(self, task: Task) -> None:
        """Record a task whose artifact the store already had, after the tasks that it needs."""
        self._note_needs(task)
        if self.recorded.issuperset(task.records) or not self.planner.is_built(task):
            return
        self.recorded.update(task.records)
        kind, (key, content_hash) = KINDS[task.kind], self.planner.built(task)
        artifact = self.outage.retry(partial(self.store.find, str(kind.artifact), key))
        facts = artifact.metadata["facts"] if artifact else {}
        study = self.planner.plan.study.name
        for record in task.records:
            columns = {**task.columns(record), **facts, "study": study, "key": key, "content_hash": content_hash}
            self.writer.found(kind.table.name, record, columns)

    def note_decisions(self) -> None:
        """Write the planner's decisions to the records: skipped and stopped trials, chosen source rates, chosen settings."""
        decisions = self.planner.decisions
        plan_grew = False
        while decisions:
            match decisions[0]:
                case Skipped(task, reason):
                    self._note_skipped(task, reason)
                case SourceChoice(_, tried):
                    for rate, reading in tried:
                        if reading is not None:
                            self._note_made(StageTask(rate.stage))
                    plan_grew = True
                case Suggested():
                    plan_grew = True
                case Chosen(key, choice):
                    if plan_grew or self.planner.plan.study.search is not None:  # a search plans the confirmed runs it chooses
                        self.write_plan()
                        plan_grew = False
                    points = self.planner.rounds.points if self.planner.rounds is not None else None
                    self.writer.choose(choice.cell, choice_columns(choice, self.planner.source_choices.get(key), points))
                case StoppedWhilePaused(task):
                    self._left.setdefault(task.identity, set(task.records))
                    decisions.popleft()  # first: `_stop` processes the remaining decisions itself
                    self._stop(task, task.records[0])
                    continue
            decisions.popleft()
        if plan_grew:
            self.write_plan()

    def _note_skipped(self, task: Task, reason: str) -> None:
        for record in task.records:
            self.writer.start(KINDS[task.kind].table.name, record, task.columns(record), again=True)
            self.writer.end(record, "skipped", {"error": reason})
        self.view.skipped(task, reason, self.planner.cells_of(task))

    def write_plan(self) -> None:
        """Write the planned trials, stages and scores; choices add trials to the plan."""
        self.writer.plan(planned_rows(self.planner), self.planner.plan.stage_ids, list(self.planner.scores))
