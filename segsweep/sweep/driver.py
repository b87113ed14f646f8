"""The driver: between the planner and whatever runs the work. It alone writes records."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from segsweep.config.work import StageSpec
from segsweep.errors import OutageError
from segsweep.records.lines import Row
from segsweep.records.writer import Moment, RecordWriter
from segsweep.stage import KIND, Elsewhere, Result, StageOutcome, Started
from segsweep.store.folder import Store
from segsweep.sweep.execute import Failed, Hindered, Lost, Message
from segsweep.sweep.outage import Outage, insisting
from segsweep.sweep.plan import chain
from segsweep.sweep.planner import Planner
from segsweep.sweep.progress import View, describe
from segsweep.sweep.rows import choice_columns, epoch_row, losses_and_scores, planned_rows, stage_columns, trial_columns
from segsweep.sweep.trouble import Trouble, trouble_in, trouble_of
from segsweep.sweep.work import Ended, StageWork, TrialWork, Work
from segsweep.training.loop import EpochResult
from segsweep.training.self_supervised import PretrainingResult
from segsweep.trial import TrialOutcome, trial_workspace

DEATHS = 3  # a worker that died this often over one piece of work is not tried again
REBUILDS = 3  # an artifact that is lost more often in one run is not built again: its disk cannot be trusted


@dataclass
class Driver:
    """Hands out work, takes what comes of it, and writes it down.

    A runner calls `next_work`, `begin` when the work starts, then `take` with every message of it (False: it is over, or is to
    be stopped), and `died` or `interrupt` where it did not come to its end. Work that the environment hinders is put off, and
    handed out again when `outage` says so; meanwhile the planner takes it for running. `prepare` prepares the data again.
    Every method waits while records cannot be written, and raises `OutageError` where that takes too long.
    """

    planner: Planner
    writer: RecordWriter
    store: Store
    view: View
    outage: Outage
    records_id: str = ""
    anew: frozenset[str] = frozenset()  # work that was stopped or failed: should it start again, it does so from nothing
    stages_told: set[str] = field(default_factory=set)  # stages that the records show as finished
    prepare: Callable[[], None] = lambda: None
    _begun: dict[str, Moment] = field(default_factory=dict)  # work that a worker has, and since when
    _open: set[str] = field(default_factory=set)  # work whose start is written and whose end is not
    _best: dict[str, EpochResult] = field(default_factory=dict)
    _epochs: dict[str, int] = field(default_factory=dict)
    _reached: Counter[str] = field(default_factory=Counter)  # the furthest epoch of work in this run, also before it was put off
    _put_off: list[tuple[float, Work]] = field(default_factory=list)  # until when
    _losses: Counter[str] = field(default_factory=Counter)  # how often work did not find what it needs in the store
    _deaths: dict[str, int] = field(default_factory=dict)
    _noted: set[str] = field(default_factory=set)
    _sources_noted: set[str] = field(default_factory=set)  # cells whose source's choice is written down

    def __post_init__(self) -> None:
        self.writer = insisting(self.writer, self.outage)

    def next_work(self) -> Work | None:
        """Return work that can start now, None where there is none, or where the environment hinders all."""
        if not self.outage.ready():
            return None
        now = time.monotonic()
        for work in [work for until, work in self._put_off if until <= now]:
            self.planner.give_back(work)
        self._put_off = [(until, work) for until, work in self._put_off if until > now]
        self.note_decisions()
        return self.planner.next()

    def begin(self, work: Work) -> None:
        """Take that a worker starts on some work. Its record starts with its first message."""
        self._begun[work.identity] = Moment.now()
        if isinstance(work, TrialWork):
            self._note_stages(work.trial.stage)
        self.view.started(work)

    def take(self, work: Work, message: Message) -> bool:
        """Take one message of running work, and return whether the work goes on."""
        if isinstance(message, Elsewhere):
            self._begun.pop(work.identity, None)
            self.view.given_back(work, "another run builds it")
            self.planner.give_back(work)
            return False
        if isinstance(message, Started) and (note := message.facts.get("note")):
            self.anew |= {work.identity}
            self.view.tell(f"{describe(work)}: {note}")
        self._write_start(work)
        match message:
            case Started(facts):
                self.writer.facts(work.identity, facts)
                return True
            case EpochResult() | PretrainingResult():
                return self._epoch(work, message)
            case StageOutcome(artifact, facts):
                columns = {**facts, "key": artifact.key, "content_hash": artifact.content_hash}
                self._end(work, "finished", columns)
            case TrialOutcome(facts, tables):
                self._end(work, "finished", {**self._best_facts(work), **facts}, tables)
            case Failed(reason, trace):
                self._fail(work, reason, trace)
            case Hindered(trouble):
                self._hindered(work, trouble)
            case Lost():
                self._lost(work, message)
        return False

    def died(self, work: Work, reason: str) -> None:
        """Take that the process which did some work died: it is given out again, unless that happened too often.

        Where the process died before it took the work, nothing is written. A death in an environment that hinders all work
        does not count.
        """
        if (trouble := trouble_in(reason, self.store.root) or self.outage.trouble) is not None:
            self._hindered(work, trouble)
            return
        identity = work.identity
        deaths = self._deaths[identity] = self._deaths.get(identity, 0) + 1
        if deaths >= DEATHS:
            self._write_start(work)
            self._fail(work, f"its worker died {deaths} times, at last: {reason}", None)
            return
        self._break_off(work, f"its worker died: {reason}")
        self.planner.give_back(work)

    def _hindered(self, work: Work, trouble: Trouble) -> None:
        """Put off work that the environment hinders. It keeps its checkpoints, and does not fail."""
        seconds = self.outage.hindered(work.identity, trouble)
        self._break_off(work, str(trouble))
        self._put_off.append((time.monotonic() + seconds, work))

    def _lost(self, work: Work, lost: Lost) -> None:
        """Have a lost artifact built again before the work that needs it: a stage by a worker, data here and now.

        Raises `OutageError` where the same work has found something lost again and again.
        """
        self._losses[work.identity] += 1
        if self._losses[work.identity] > REBUILDS:
            raise OutageError(
                f"{lost.kind} {lost.key} of the store is lost after {REBUILDS} times: {lost.reason}; see to the disk. "
                "What is finished is kept: the same command continues"
            )
        self._break_off(work, f"{lost.kind} {lost.key} is lost: {lost.reason}; it is built again")
        if lost.kind == KIND:
            self.planner.look_again()
        else:
            self.outage.insist(self.prepare)
        self.planner.give_back(work)

    def _break_off(self, work: Work, reason: str) -> None:
        """Write and tell that work was broken off, and why; nothing is written where it had not begun."""
        identity = work.identity
        if identity in self._begun or identity in self._open:
            self._write_start(work)
            self._open.discard(identity)
            self.writer.end(identity, "interrupted", {"error": reason})
        self.view.given_back(work, reason)

    def _write_start(self, work: Work) -> None:
        """Write that work has started, once a start."""
        if work.identity in self._open:
            return
        self._open.add(work.identity)
        begun = self._begun.pop(work.identity, None)
        if isinstance(work, StageWork):
            table, columns = "stages", stage_columns(work.spec)
        else:
            table, columns = "trials", trial_columns(work.trial)
        columns |= {"study": self.planner.plan.study.name}
        again = work.identity in self.anew or work.identity in self.stages_told  # a stage that was finished and is lost
        self.writer.start(table, work.identity, columns, again=again, begun=begun)
        self.anew -= {work.identity}
        self.stages_told -= {work.identity}

    def _epoch(self, work: Work, result: Result) -> bool:
        self.writer.epoch(work.identity, epoch_row(result))
        self.view.epoch(work, result)
        if result.epoch > self._reached[work.identity]:
            self._reached[work.identity] = result.epoch
            self.outage.progressed(work.identity)
        if isinstance(work, StageWork) or isinstance(result, PretrainingResult):
            return True
        self._epochs[work.identity] = result.epoch
        if result.best:
            self._best[work.identity] = result
        goes_on = self.planner.epoch(work.trial, result.epoch, result.reading(work.trial.settings.keep))
        if goes_on or result.epoch == work.trial.settings.results:
            return True
        self.anew |= {work.identity}
        self._end(work, "stopped", {**self._best_facts(work), "stopped_by": str(self.planner.plan.study.early_stopping)})
        return False

    def _fail(self, work: Work, reason: str, trace: str | None) -> None:
        """Write that work failed: the sweep goes on without it."""
        if trace is not None:
            path = self.writer.trace(work.identity, trace).relative_to(
                self.writer.folder.parent
            )  # records may leave this machine
            reason = f"{reason} (traceback: {path})"
        self._end(work, "failed", {"error": reason, **self._best_facts(work)})

    def interrupt(self, work: Work, reason: str = "interrupted by the user") -> None:
        """Take that work was broken off for good: the next start goes on with it, also where that cannot be written."""
        self.outage.end()
        if work.identity not in self._open:
            return
        try:
            self.writer.end(work.identity, "interrupted", {"error": reason})
        except Exception as error:
            if trouble_of(error) is None:
                raise

    def _end(
        self, work: Work, status: str, columns: Mapping[str, Any], tables: Mapping[str, Sequence[Row]] = MappingProxyType({})
    ) -> None:
        """Write how work ended, then forget its checkpoints, then let the planner know."""
        self._open.discard(work.identity)
        self.writer.end(work.identity, status, columns, tables)
        self.outage.progressed(work.identity)
        if isinstance(work, StageWork):
            self.stages_told |= {work.identity} if status == "finished" else set()
            self.planner.stage_ended(work.spec, columns.get("error") if status == "failed" else None)
        else:
            self.store.clear_workspace(trial_workspace(work.trial, self.records_id))
            self.planner.trial_ended(work.trial, Ended(status, columns.get("error")))
        cells = [] if isinstance(work, StageWork) else self.planner.cells_of(work.trial)
        self.view.ended(work, status, columns, cells)
        self.note_decisions()

    def _best_facts(self, work: Work) -> dict[str, Any]:
        """Return the validation numbers of the epoch that is kept so far, as columns of the trials table."""
        best = self._best.pop(work.identity, None)
        epochs_run = self._epochs.pop(work.identity, 0)
        if best is None:
            return {}
        return {"epochs_run": epochs_run, "best_epoch": best.epoch, **losses_and_scores(best)}

    def _note_stages(self, last: StageSpec | None) -> None:
        """Write down the stages of a chain that the store had already: built for another study, or by another run."""
        for spec in chain(last):
            if spec.spec_id not in self.stages_told and self.planner.is_built(spec):
                self.stages_told.add(spec.spec_id)
                key, content_hash = self.planner.built(spec)
                artifact = self.outage.insist(partial(self.store.find, KIND, key))
                facts = artifact.metadata["facts"] if artifact else {}
                columns = {**stage_columns(spec), **facts, "study": self.planner.plan.study.name}
                self.writer.found(spec.spec_id, {**columns, "key": key, "content_hash": content_hash})

    def note_decisions(self) -> None:
        """Write down what the planner has decided by itself: skipped trials, chosen settings, and why none could be chosen."""
        for identity, (trial, reason) in self.planner.skipped.items():
            if identity not in self._noted:
                self._noted.add(identity)
                self.writer.start("trials", identity, trial_columns(trial), again=True)
                self.writer.end(identity, "skipped", {"error": reason})
                self.view.skipped(trial, reason, self.planner.cells_of(trial))
        self._note_source_choices()
        for key, choice in {**self.planner.choices, **self.planner.unchosen}.items():
            if key not in self._noted:
                self._noted.add(key)
                self.writer.choose(choice.cell, choice_columns(choice, self.planner.source_choices.get(key)))

    def _note_source_choices(self) -> None:
        """Write down the stages with which sources were tried, and the trials that follow from what was chosen."""
        new = [choice for cell, choice in self.planner.source_choices.items() if cell not in self._sources_noted]
        for choice in new:
            for rate, reading in choice.tried:
                if reading is not None:
                    self._note_stages(rate.stage)
        self._sources_noted |= set(self.planner.source_choices)
        if new:
            self.writer.plan(planned_rows(self.planner), [stage.spec_id for stage in self.planner.plan.stages()])
