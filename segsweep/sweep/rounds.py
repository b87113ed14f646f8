"""The rounds of a study with a budget: tuning points and confirmed seeds, released for all cells alike while they fit."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from segsweep.config.keep import Reading
from segsweep.config.work import StageSpec, Trial
from segsweep.sweep.budget import RESERVE, Share, growth, largest, least_share
from segsweep.sweep.cell_state import CellState
from segsweep.sweep.early_stopping import number
from segsweep.sweep.ledger import Ledger
from segsweep.sweep.plan import Cell, Plan, chain
from segsweep.sweep.schedule import Schedule
from segsweep.tasks.stage_task import StageTask
from segsweep.tasks.task import Task
from segsweep.tasks.trial_task import TrialTask

START_POINTS = 3  # tuning points with which cells begin, so that workers are not idle between rounds of single points
NEARLY = 0.95  # a point is released if this part of the work up to its share fits: some cells may then lack their last seed


@dataclass(frozen=True)
class MorePoints:
    """Every cell gets its first `points` tuning points."""

    points: int


@dataclass(frozen=True)
class TuningClosed:
    """No cell gets a further tuning point: each chooses its setting from its first `points` points."""

    points: int


@dataclass(frozen=True)
class MoreSeeds:
    """Confirmed runs of one combination of the compared axes."""

    trials: tuple[Trial, ...]


Step = MorePoints | TuningClosed | MoreSeeds


@dataclass(frozen=True)
class Budget:
    """The budget of a start: its ledger, the number of workers at the start, and `closed_at` (see `Rounds`)."""

    ledger: Ledger
    workers: int = 1
    closed_at: int | None = None


class Rounds:
    """Decides what a study with a budget does next when all released tasks have started.

    Every cell begins with three points, or with fewer if these do not fit. One more point is released for all cells if it fits
    together with at least two confirmed seeds of each cell, in the order of `growth`. Otherwise tuning closes: the cells choose
    their settings, for good. Confirmed seeds follow in rounds of one seed for each combination of the compared axes (of
    `source_seeds` seeds if sources have several models), on all folds. A round starts the combinations with the greatest scatter
    of validation readings first.

    A further point is released only when every cell has started the ones before, and a seed only when the seeds before are
    released for every cell. So the numbers of two cells differ by one at most.

    `closed_at` is the number of points from which an earlier start chose settings, if this start must keep to it. `points` is the
    number of points released so far.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        schedule: Schedule,
        states: Mapping[str, CellState],
        scores: Mapping[str, Task],
        ended: Mapping[str, object],
        readings: Mapping[str, Mapping[int, Reading]],
        closed_at: int | None = None,
        workers: int = 1,
    ) -> None:
        study = plan.study
        self._plan, self.ledger, self._schedule, self._states, self._ended = plan, ledger, schedule, states, ended
        self._scores = scores
        self.step = study.source_seeds if study.seeds % study.source_seeds == 0 else 1
        self.declared = Share(max((len(cell.tuning) for cell in plan.cells), default=0), study.seeds)
        self.least = least_share(self.declared, self.step)
        self.points = self._first_points = self.least.points
        self.is_closed = False
        self._must_close = closed_at is not None
        self._first_confirmed: dict[str, int] = {}  # key of a cell -> confirmed runs of earlier starts, at its first points
        self._released: dict[str, int] = defaultdict(int)  # name of a combination -> released rounds of seeds
        self._readings = {trial: [max(number(each) for each in curve.values())] for trial, curve in readings.items() if curve}
        begun = max(self._points_ended(plan.cells), self._points_at_start(workers))
        self.points = self._first_points = begun if closed_at is None else closed_at

    def _points_at_start(self, workers: int) -> int:
        """Return the number of points with which every cell begins: three if they fit with a reserve, otherwise fewer."""
        most = min(START_POINTS, self.declared.points)
        shares = (Share(points, self.least.seeds) for points in range(most, self.least.points, -1))
        return next((share.points for share in shares if self.fits(share, workers, RESERVE)), self.least.points)

    def _points_ended(self, cells: Sequence[Cell]) -> int:
        """Return the number of first tuning points that have ended in every cell."""
        return min((self._leading(cell.tuning) for cell in cells), default=0)

    def _leading(self, trials: Sequence[Trial]) -> int:
        return next((place for place, trial in enumerate(trials) if trial.trial_id not in self._ended), len(trials))

    # --- What follows -----------------------------------------------------------------------------------------------------

    def advance(self, plan: Plan, workers: int) -> Step | None:
        """Return the next step, or None if nothing more fits or the tasks that run must end first."""
        self._plan = plan
        return self._more_seeds(workers) if self.is_closed else self._tune(workers)

    def forecast(self, plan: Plan, workers: int) -> Share | None:
        """Return the share that every cell is expected to get; None if not even the least share fits."""
        self._plan = plan
        return self._largest(lambda share: self.fits(share, workers))

    def _largest(self, fits: Callable[[Share], bool]) -> Share | None:
        start = Share(self.points, self.least.seeds)
        declared = Share(self.points, self.declared.seeds) if self.is_closed or self._must_close else self.declared
        return largest(growth(start, declared, self.step), fits)

    def _is_safe(self, share: Share, workers: int) -> bool:
        """Return whether a share fits. Further points must leave a reserve for the least seeds, but not for the last ones."""
        if share.points == self.points:
            return self.fits(share, workers)
        sure = Share(share.points, self.least.seeds)
        return self.fits(share, workers, NEARLY) and self.fits(sure, workers, RESERVE)

    def fits(self, share: Share, workers: int, reserve: float = 1.0) -> bool:
        """Return whether the work that the share still needs fits the budget, if it takes `reserve` times the prediction."""
        seconds = self.seconds(share)
        return seconds == 0 or self.ledger.allows(reserve * seconds, reserve * self._longest(), workers)

    def seconds_to_end(self, share: Share, workers: int, reserve: float) -> float:
        """Return the time until the work of a share has ended, in seconds, if it takes `reserve` times the prediction."""
        return self.ledger.seconds_to_end(reserve * self.seconds(share), reserve * self._longest(), workers)

    def note(self, trial: str, found: Reading) -> None:
        """Note the reading of a confirmed run; its best one counts."""
        best = self._readings.setdefault(trial, [-math.inf])
        best[0] = max(best[0], number(found))

    # --- Tuning -----------------------------------------------------------------------------------------------------------

    def _tune(self, workers: int) -> Step | None:
        """Release the next point, or close tuning, once every cell has started the points before."""
        if self._must_close:
            return self._close(self.points)
        if any(self._is_behind(cell) for cell in self._plan.cells):
            return None if self._schedule.running else self._withdraw()
        goal = self._largest(lambda share: self._is_safe(share, workers))
        if goal is None or goal.points <= self.points:
            return self._close(self.points)
        self.points += 1
        return MorePoints(self.points)

    def _is_behind(self, cell: Cell) -> bool:
        """Return whether a released tuning trial of a cell has not started."""
        state = self._states.get(cell.key)
        return state is None or any(self._schedule.is_unstarted(trial) for trial in state.tuning)

    def _withdraw(self) -> Step | None:
        """Close tuning at the points that all cells have, because the last released ones did not fit."""
        points = self._points_ended(self._plan.cells)
        return self._close(points) if points >= self.least.points else None

    def _close(self, points: int) -> Step:
        self.points, self.is_closed = points, True
        return TuningClosed(points)

    # --- Confirmation -----------------------------------------------------------------------------------------------------

    def _more_seeds(self, workers: int) -> Step | None:
        """Return the confirmed runs of the combination whose turn it is, or None."""
        of_names: dict[str, list[Cell]] = defaultdict(list)
        for cell in self._plan.cells:
            of_names[cell.name].append(cell)
        for name, cells in of_names.items():
            while self._released[name] < self._rounds and self._has_chosen(cells) and not self._next_runs(name, cells):
                self._released[name] += 1  # earlier starts have done this round
        lowest = min((self._released[name] for name in of_names), default=0)
        ready = [name for name in of_names if self._released[name] == lowest < self._rounds and self._has_chosen(of_names[name])]
        for name in sorted(ready, key=lambda name: -self._spread(of_names[name])):  # stable: ties in the declaration's order
            runs = self._next_runs(name, of_names[name])
            longest = max(self._seconds_with_stages([run]) for run in runs)
            if self.ledger.allows(self._seconds_with_stages(runs), longest, workers):
                self._released[name] += 1
                return MoreSeeds(tuple(runs))
        return None

    @property
    def _rounds(self) -> int:
        return -(-self.declared.seeds // self.step)

    def _has_chosen(self, cells: Iterable[Cell]) -> bool:
        states = [self._states.get(cell.key) for cell in cells]
        return all(state is not None and state.choice is not None for state in states)

    def _next_runs(self, name: str, cells: Sequence[Cell]) -> list[Trial]:
        """Return the unfinished confirmed runs of a combination's next round."""
        first = self._released[name] * self.step
        runs = [run for cell in cells for run in self._confirm(cell)[first : first + self.step]]
        return [run for run in runs if run.trial_id not in self._ended]

    def _confirm(self, cell: Cell) -> tuple[Trial, ...]:
        choice = self._states[cell.key].choice
        return choice.confirm if choice is not None else ()

    def _spread(self, cells: Iterable[Cell]) -> float:
        """Return the standard deviation of the validation readings of a combination's confirmed runs, the mean over its folds.

        Test readings do not decide which cells are run again.
        """
        found = []
        for cell in cells:
            values = [self._readings[run.trial_id][0] for run in self._confirm(cell) if run.trial_id in self._readings]
            known = [value for value in values if math.isfinite(value)]
            found += [stdev(known)] if len(known) > 1 else []
        return fmean(found) if found else 0.0

    # --- Prices -----------------------------------------------------------------------------------------------------------

    def seconds(self, share: Share) -> float:
        """Return the expected device time of all tasks that the share needs and that have neither ended nor started."""
        tuning = {trial.trial_id: trial for cell in self._plan.cells for trial in cell.tuning[: share.points]}
        todo = [trial for identity, trial in tuning.items() if self._is_todo(identity)]
        confirmed = sum(self._confirm_seconds(cell, share) for cell in self._plan.cells)
        others = (task for identity, task in self._scores.items() if self._is_todo(identity))
        return (
            sum(self.ledger.expected(TrialTask(trial)) for trial in todo)
            + confirmed
            + self._stage_seconds(self._plan.stages())
            + sum(map(self.ledger.expected, others))
        )

    def _is_todo(self, identity: str) -> bool:
        return identity not in self._ended and identity not in self._schedule.running

    def _confirm_seconds(self, cell: Cell, share: Share) -> float:
        """Return the expected device time of the confirmed runs of a cell. A further tuning point may change all of them."""
        state = self._states.get(cell.key)
        if state is not None and state.choice is not None:
            runs = state.choice.confirm[: share.seeds]
            return sum(self.ledger.expected(TrialTask(run)) for run in runs if self._is_todo(run.trial_id))
        done = self._confirmed_before(cell) if share.points == self._first_points else 0
        run = cell.confirm(cell.settings)[0]
        return max(0, share.seeds - done) * self.ledger.expected(TrialTask(run))

    def _confirmed_before(self, cell: Cell) -> int:
        """Return the number of confirmed runs that earlier starts have made of the setting that the first points choose."""
        state = self._states.get(cell.key)
        if state is None or not state.tuned or self.points != self._first_points:
            return 0
        if cell.key not in self._first_confirmed:
            choice = state.choose(self._plan.study.tune)
            self._first_confirmed[cell.key] = sum(run.trial_id in self._ended for run in choice.confirm)
        return self._first_confirmed[cell.key]

    def _stage_seconds(self, stages: Iterable[StageSpec]) -> float:
        """Return the expected device time of the stages among `stages` that are to be built."""
        tasks = {stage.spec_id: StageTask(stage) for stage in stages}
        todo = [task for identity, task in tasks.items() if self._is_todo(identity) and identity not in self._schedule.failed]
        return sum(self.ledger.expected(task) for task in todo if not self._schedule.built.is_built(task))

    def _seconds_with_stages(self, runs: Sequence[Trial]) -> float:
        """Return the expected device time of confirmed runs and of the stages that they need."""
        stages = [stage for run in runs for stage in chain(run.stage)]
        return sum(self.ledger.expected(TrialTask(run)) for run in runs) + self._stage_seconds(stages)

    def _longest(self) -> float:
        """Return the expected time of the longest path of tasks of a cell: its stages, a tuning trial and a confirmed run."""
        return max((self._path(cell) for cell in self._plan.cells), default=0.0)

    def _path(self, cell: Cell) -> float:
        wall: Callable[..., float] = self.ledger.expected_wall
        stages = [StageTask(stage) for last in cell.stages for stage in chain(last)]
        todo = [task for task in {task.identity: task for task in stages}.values() if not self._schedule.built.is_built(task)]
        trials = [*cell.tuning[: not self.is_closed], cell.confirm(cell.settings)[0]]
        return sum(map(wall, todo)) + sum(wall(TrialTask(trial)) for trial in trials)
