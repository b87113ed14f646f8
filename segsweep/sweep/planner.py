"""The planner decides what runs next. Runners carry it out; the planner knows neither torch nor Ray nor files."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from segsweep.config.keep import Reading, smoothed
from segsweep.config.space import Choice as Listed
from segsweep.config.work import StageSpec, Trial
from segsweep.sweep.early_stopping import PerCellStopping
from segsweep.sweep.plan import Cell, Plan, chain
from segsweep.sweep.work import Choice, Ended, ResumeState, SourceChoice, StageWork, TrialWork, Work

FindStage = Callable[[str], str | None]  # key of a stage -> content hash of its weights, None where it is not built
StageTaken = Callable[[str], bool]  # key of a stage -> whether another run is building it now
ReadStage = Callable[[str], float]  # key of a built supervised stage -> its reading by `keep`, higher better


class Planner:
    """Which stage or trial runs next, whether a running one goes on, and what every cell has chosen.

    At least one tuning trial of a cell finishes, unless all fail: the last one is not stopped, and where those that were not
    stopped have failed, the best of the stopped ones starts anew, then the next, until one finishes.

    `next` gives work that can start now; `epoch`, `trial_ended` and `stage_ended` tell what came of it. Work that is
    given out and not reported as ended is running. `skipped`, `choices`, `unchosen` (cells that could choose no setting) and
    `source_choices` fill up as the planner learns; a cell of `plan` whose source's learning rate is tuned gets the trials of the
    chosen rate, and runs none before.
    """

    def __init__(
        self,
        plan: Plan,
        find_stage: FindStage,
        resume: ResumeState | None = None,
        stage_taken: StageTaken = lambda _: False,
        read_stage: ReadStage = lambda _: 0.0,
    ) -> None:
        resume = resume or ResumeState()
        self.plan = plan
        self.choices: dict[str, Choice] = {}
        self.unchosen: dict[str, Choice] = {}
        self.source_choices: dict[str, SourceChoice] = {}
        self.skipped: dict[str, tuple[Trial, str]] = {}
        self._find_stage = find_stage
        self._stage_taken = stage_taken
        self._ended = dict(resume.ended)
        self._running: set[str] = set()
        self._built: dict[str, tuple[str, str]] = {}  # spec id -> key, content hash
        self._failed_stages = dict(resume.failed_stages)
        self._read_stage = read_stage
        self._readings = dict(resume.stage_readings)  # by spec id
        self._curves = resume.curves
        self._stopping = PerCellStopping(plan.study.early_stopping)
        self._open_cells = list(plan.cells)
        self._cells_of: dict[str, list[Cell]] = defaultdict(list)
        for cell in plan.cells:
            if not cell.source_rates:
                self._open_tuning(cell)
        self._given_up = self._failed_beside_others(resume.retried_stages)
        self._settle()

    def _failed_beside_others(self, failed: frozenset[str]) -> frozenset[str]:
        """Return the failed last stages of rates beside which another rate was trained: a retry leaves such a choice alone."""
        found = set()
        for cell in self.plan.cells:
            lasts = [rate.stage for rate in cell.source_rates]
            if any(self._is_tried(last) for last in lasts):
                found |= {last.spec_id for last in lasts if any(stage.spec_id in failed for stage in chain(last))}
        return frozenset(found)

    def _open_tuning(self, cell: Cell) -> None:
        """Refill the curves of a cell whose tuning trials are known."""
        for trial in cell.tuning:
            self._cells_of[trial.trial_id].append(cell)
            for epoch, found in self._curves.get(trial.trial_id, {}).items():
                self._stopping.report(cell.key, trial.trial_id, epoch, found, trial.settings.results)
            if trial.trial_id in self._ended:
                self._stopping.ended(cell.key, trial.trial_id, self._ended[trial.trial_id].status)

    def next(self) -> Work | None:
        """Return work that can start now: first stages, in the order of need; None where nothing can.

        With nothing running, None means that the study is `done`, or that another run builds the stages that it needs.
        """
        waiting = [trial for cell in self._open_cells for trial in self._waiting(cell)]
        taken: set[str] = set()
        for last in (last for cell in self._open_cells for last in self._needed(cell)):
            if (stage := self._missing_stage(last)) is None or stage.identity in self._running | taken:
                continue
            if self._stage_taken(self._own_key(stage.spec)):
                taken.add(stage.identity)
                continue
            self._running.add(stage.identity)
            return stage
        for trial in waiting:
            if self._missing_stage(trial.stage) is None:
                self._running.add(trial.trial_id)
                return TrialWork(trial, self._built[trial.stage.spec_id][0] if trial.stage else None)
        return None

    @property
    def done(self) -> bool:
        """Whether nothing is running and nothing is left to run."""
        return not self._running and not any(self._waiting(cell) or self._untried(cell) for cell in self._open_cells)

    def give_back(self, work: Work) -> None:
        """Take that work which was given out did not come to its end and is to be given out again."""
        self._running.discard(work.identity)

    def look_again(self) -> None:
        """Take that a built stage may be lost: each is looked for anew, and one that is not found is built again."""
        self._built.clear()

    @property
    def trials_done(self) -> int:
        """How many of the trials that are known by now have ended."""
        return sum(len(self.ended(cell)) for cell in self.plan.cells)

    def ended(self, cell: Cell) -> dict[str, Ended]:
        """Return how those trials of a cell ended that have, by their ids."""
        known = (trial.trial_id for trial in self.trials(cell))
        return {trial: self._ended[trial] for trial in known if trial in self._ended}

    def cells_of(self, trial: Trial) -> list[str]:
        """Return the names of the cells whose trial it is: tuning trials may be shared."""
        return [cell.name for cell in self._cells_of.get(trial.trial_id, ())] or [trial.cell]

    def epoch(self, trial: Trial, epoch: int, found: Reading) -> bool:
        """Record the reading of one epoch, and return whether the trial goes on. Confirmed runs always do.

        Cells that differ in nothing that tuning sees, as in `test_size`, share their tuning trials: a trial goes on while one
        of its cells wants it.
        """
        if trial.phase == "confirm":
            return True
        cells, planned = self._cells_of[trial.trial_id], trial.settings.results
        wanted = [self._stopping.report(cell.key, trial.trial_id, epoch, found, planned) for cell in cells]
        return any(wanted) or any(self._is_last(cell, trial) for cell in cells)

    def trial_ended(self, trial: Trial, ended: Ended) -> None:
        """Take how a trial ended."""
        self._running.discard(trial.trial_id)
        self._ended[trial.trial_id] = ended
        for cell in self._cells_of[trial.trial_id]:
            self._stopping.ended(cell.key, trial.trial_id, ended.status)
        self._settle()

    def stage_ended(self, spec: StageSpec, error: str | None = None) -> None:
        """Take that a stage is in the store, or why it is not: then all trials that need it are skipped."""
        self._running.discard(spec.spec_id)
        if error is not None:
            self._failed_stages[spec.spec_id] = error
        else:
            assert self.is_built(spec), f"stage {spec.name} was built under another key; it would be built for ever"
        self._settle()

    def trials(self, cell: Cell) -> tuple[Trial, ...]:
        """Return the trials of a cell that are known by now: tuning trials, and after the choice the confirmed runs."""
        if self.is_undecided(cell):
            return ()
        choice = self.choices.get(cell.key)
        return (*cell.tuning, *(choice.confirm if choice else ()))

    def built(self, stage: StageSpec) -> tuple[str, str]:
        """Return the key and the content hash of a stage that is in the store."""
        return self._built[stage.spec_id]

    def missing_stages(self) -> list[StageSpec]:
        """Return the stages that waiting trials need and that are not built."""
        lasts = [last for cell in self._open_cells for last in self._needed(cell)]
        lasts += [last for cell in self._open_cells if self.is_undecided(cell) for last in cell.stages]
        needed = {stage.spec_id: stage for last in lasts for stage in chain(last)}
        return self.unbuilt(list(needed.values()))

    def unbuilt(self, stages: list[StageSpec]) -> list[StageSpec]:
        """Return those of some stages that are not built."""
        return [stage for stage in stages if not self.is_built(stage)]

    def _waiting(self, cell: Cell) -> list[Trial]:
        return [trial for trial in self.trials(cell) if trial.trial_id not in self._ended and trial.trial_id not in self._running]

    def is_undecided(self, cell: Cell) -> bool:
        """Return whether a cell's trials wait for the choice of its source's learning rate."""
        return bool(cell.source_rates) and cell.key not in self.source_choices

    def _untried(self, cell: Cell) -> list[StageSpec]:
        """Return the last stages of the rates that a cell's source is still to be tried with."""
        if not self.is_undecided(cell):
            return []
        lasts = [rate.stage for rate in cell.source_rates]
        return [last for last in lasts if last.spec_id not in self._given_up and not self._is_tried(last)]

    def _is_tried(self, stage: StageSpec) -> bool:
        failed = any(each.spec_id in self._failed_stages for each in chain(stage))
        return failed or stage.spec_id in self._readings or self.is_built(stage)

    def _needed(self, cell: Cell) -> list[StageSpec | None]:
        """Return the last stages of the chains that a cell needs next: of rates to try, or of waiting trials."""
        return [*self._untried(cell), *(trial.stage for trial in self._waiting(cell))]

    def _missing_stage(self, last: StageSpec | None) -> StageWork | None:
        """Return the first stage of a chain that is not built."""
        for stage in chain(last):
            if not self.is_built(stage):
                return StageWork(stage, self._built[stage.parent.spec_id][0] if stage.parent else None)
        return None

    def is_built(self, stage: StageSpec) -> bool:
        """Return whether a stage is in the store, under the key that follows from the stages before it."""
        if stage.spec_id not in self._built and stage.spec_id not in self._running:
            key = self._key(stage)
            if key is not None and (content := self._find_stage(key)) is not None:
                self._built[stage.spec_id] = (key, content)
        return stage.spec_id in self._built

    def _key(self, stage: StageSpec) -> str | None:
        """Return a stage's key in the store; None while the stage before it is not built."""
        if stage.parent is None:
            return stage.key(None)
        return stage.key(self._built[stage.parent.spec_id][1]) if self.is_built(stage.parent) else None

    def _own_key(self, stage: StageSpec) -> str:
        key = self._key(stage)
        assert key is not None, f"the stage before {stage.name} is not built"
        return key

    def _settle(self) -> None:
        """Draw the conclusions: skip what cannot run, choose where tuning is over, close cells that are done."""
        self._choose_sources()
        for cell in self._open_cells:
            if self.is_undecided(cell):
                continue
            self._skip(cell)
            tuned = all(trial.trial_id in self._ended for trial in cell.tuning)
            if tuned and cell.key not in self.choices and not self._reopen(cell):
                choice = self._choose(cell)
                (self.unchosen if choice.reason else self.choices)[cell.key] = choice
                self._skip(cell)
        self._open_cells = [
            cell
            for cell in self._open_cells
            if self.is_undecided(cell) or any(trial.trial_id not in self._ended for trial in self.trials(cell))
        ]

    def _choose_sources(self) -> None:
        """Choose the learning rate of every source that has been tried with all, and give its cells their trials."""
        decided = {}
        for cell in self._open_cells:
            if self.is_undecided(cell) and not self._untried(cell):
                tried = tuple((rate, self._reading(rate.stage)) for rate in cell.source_rates)
                readings = [
                    (-math.inf if value is None or math.isnan(value) else value, -number)
                    for number, (_, value) in enumerate(tried)
                ]
                chosen = tried[-max(readings)[1]][0]
                self.source_choices[cell.key] = SourceChoice(chosen, tried)
                decided[cell.key] = replace(chosen.cell, source_rates=cell.source_rates)
        if decided:
            self.plan = replace(self.plan, cells=tuple(decided.get(cell.key, cell) for cell in self.plan.cells))
            self._open_cells = [decided.get(cell.key, cell) for cell in self._open_cells]
            for cell in decided.values():
                self._open_tuning(cell)

    def _reading(self, stage: StageSpec) -> float | None:
        """Return the reading of a stage that has been tried, None where it or one before it failed."""
        if stage.spec_id not in self._readings and self.is_built(stage):
            self._readings[stage.spec_id] = self._read_stage(self._built[stage.spec_id][0])
        return self._readings.get(stage.spec_id)

    def _skip(self, cell: Cell) -> None:
        for trial in self._waiting(cell):
            for stage in chain(trial.stage):
                if stage.spec_id in self._failed_stages:
                    each = f" with each of {len(cell.source_rates)} learning rates" if cell.source_rates else ""
                    reason = f"source stage {stage.name} failed{each}: {self._failed_stages[stage.spec_id]}"
                    self.skipped[trial.trial_id] = (trial, reason)
                    self._ended[trial.trial_id] = Ended("skipped", error=reason)
                    break

    def _reopen(self, cell: Cell) -> bool:
        """Let the best stopped trial of a cell start anew where none finished with a reading, and return whether one does."""
        stopped = self._with_status(cell, "stopped")
        if not stopped or self._scored(cell):
            return False
        best = self._best(cell, stopped)
        del self._ended[best.trial_id]
        for sharing in self._cells_of[best.trial_id]:
            self._stopping.reopened(sharing.key, best.trial_id)
        return True

    def _is_last(self, cell: Cell, trial: Trial) -> bool:
        """Return whether all other tuning trials of a cell have ended and none of them finished with a reading."""
        others = (other.trial_id for other in cell.tuning if other.trial_id != trial.trial_id)
        return all(other in self._ended for other in others) and not self._scored(cell)

    def _with_status(self, cell: Cell, status: str) -> list[Trial]:
        """Return the tuning trials of a cell that ended so."""
        ends = ((trial, self._ended.get(trial.trial_id)) for trial in cell.tuning)
        return [trial for trial, end in ends if end is not None and end.status == status]

    def _score(self, cell: Cell, trial: Trial) -> Reading:
        """Return the mean of a trial's last readings; of one that has none, or reads no number, less than any other."""
        curve = self._stopping.curve(cell.key, trial.trial_id)
        score = smoothed(curve) if curve else Reading(math.nan)
        return Reading(-math.inf) if math.isnan(score.value) else score

    def _scored(self, cell: Cell) -> list[Trial]:
        """Return the tuning trials of a cell that finished with a reading that is a number."""
        return [trial for trial in self._with_status(cell, "finished") if self._score(cell, trial).value > -math.inf]

    def _best(self, cell: Cell, trials: list[Trial]) -> Trial:
        """Return the trial whose last readings are best on average; of equal ones the first point."""
        return max(trials, key=lambda trial: (self._score(cell, trial), -(trial.point or 0)))

    def _choose(self, cell: Cell) -> Choice:
        """Return the setting of the best trial that finished, or why there is none."""
        if not cell.tuning:
            return Choice(cell.name, None, cell.settings, cell.confirm(cell.settings), ())
        finished = self._with_status(cell, "finished")
        known = any(self._stopping.curve(cell.key, trial.trial_id) for trial in finished)
        assert known or not finished, f"cell {cell.key}: trials have finished of which no epoch is known"
        if scored := self._scored(cell):
            best = self._best(cell, scored)
            return Choice(cell.name, best, best.settings, cell.confirm(best.settings), self._at_edge(cell, best))
        return Choice(cell.name, None, cell.settings, (), (), self._why_none(cell))

    def _why_none(self, cell: Cell) -> str:
        """Return why a cell whose tuning trials have ended could choose no setting."""
        ended = [self._ended[trial.trial_id] for trial in cell.tuning]
        verbs = {"failed": "failed", "skipped": "had no source"}
        counts = Counter(verbs.get(end.status, "read no number") for end in ended)
        told = ", ".join(f"{count} of {len(ended)} tuning trials {verb}" for verb, count in counts.items())
        first = next((f"; the first: {end.error}" for end in ended if end.error), "")
        return f"no setting could be chosen: {told}{first}"

    def _at_edge(self, cell: Cell, best: Trial) -> tuple[str, ...]:
        """Return the tuned axes whose chosen value is the lowest or highest tried, or in the outer tenth of its range.

        Of listed values at least three numbers must have been tried.
        """
        found = []
        for axis, tuned in self.plan.study.tune.items():
            value: Any = getattr(best.settings, axis)
            tried = list(dict.fromkeys(getattr(trial.settings, axis) for trial in cell.tuning))
            if isinstance(tuned, Listed):
                at_edge = Listed(tried).at_edge(value)
            else:
                at_edge = tuned.at_edge(value) or value in (min(tried), max(tried))
            found += [axis] if at_edge else []
        return tuple(found)
