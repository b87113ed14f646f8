"""A search: suggests trials one by one, from the results of all earlier ones, and chooses the settings to confirm.

A search is not stored: every start restores it from the records of its trials. Suggestion number k depends on the study's name,
on k and on the results so far, so an interrupted search continues with the suggestions that it would have made.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from segsweep.config.digest import seed_for
from segsweep.config.keep import smoothed
from segsweep.config.search import Search
from segsweep.config.study import TUNING_SEED
from segsweep.config.work import Trial
from segsweep.sweep.cell_state import CellState
from segsweep.sweep.decisions import CellChoice, Ended
from segsweep.sweep.plan import Cell, Plan
from segsweep.sweep.search_sampler import Observation, suggest
from segsweep.sweep.search_space import OutsideError, SearchSpace, known_values
from segsweep.sweep.search_stopping import SharedStopping

POOL = "search"  # key under which all trials of a search are compared
SAMPLED, DRAWN = 5, 200  # suggestions of the sampler, then at random, that repeat a known trial before the search ends
Recorded = Mapping[str, Any]  # a row of the trials table


class SearchRun:
    """The state of a search: its trials, their results, and whether another trial is due.

    `recorded` are the rows of its trials in the records, `warm` the results of earlier studies. `state` compares all its trials,
    as the state of a cell does in a grid. `begin` must be called before the other methods, once the sources of all cells are
    chosen.
    """

    def __init__(
        self,
        search: Search,
        ended: Mapping[str, Ended],
        stopping: SharedStopping,
        recorded: Sequence[Recorded],
        warm: Sequence[Observation],
    ) -> None:
        self._search, self._ended, self._stopping = search, ended, stopping
        self._recorded, self._warm = recorded, tuple(warm)
        self._trials: dict[int, Trial] = {}  # by number of the suggestion
        self._observed: dict[str, Mapping[Any, Any]] = {}  # id of a trial -> its decisions
        self.exhausted = False

    def begin(self, plan: Plan) -> list[Trial]:
        """Build the space from a plan, and return the trials of earlier starts, in the order of their suggestions."""
        self._study, self._space = plan.study.name, SearchSpace(plan.cells, plan.study.tune)
        self.state = CellState(replace(plan.cells[0], name=POOL, tuning=()), self._ended, self._stopping)
        for row in sorted(self._recorded, key=lambda row: (row["point"], row["trial_id"])):
            if (trial := self._restored(row)) is not None:
                self._add(trial)
        return list(self._trials.values())

    def _restored(self, row: Recorded) -> Trial | None:
        """Return a recorded trial; None if the study no longer contains it, or its number is taken or too high."""
        point = int(row["point"])
        if point in self._trials or point >= self._search.trials:
            return None
        try:
            cell, settings, _ = self._space.locate(known_values(row))
        except OutsideError:
            return None
        trial = cell.trial("search", settings, TUNING_SEED, point)
        return trial if trial.trial_id == row["trial_id"] and trial.trial_id not in self._observed else None

    def _add(self, trial: Trial) -> None:
        assert trial.point is not None
        self._trials[trial.point] = trial
        self._observed[trial.trial_id] = self._space.locate(trial.settings.model_dump())[2]
        self._stopping.add(trial.trial_id, trial.settings.results)
        self.state.add(trial)

    @property
    def is_begun(self) -> bool:
        """Whether the space is known."""
        return hasattr(self, "state")

    @property
    def is_complete(self) -> bool:
        """Whether all trials are suggested and have ended."""
        return self.is_begun and not self._left and self.state.tuned

    @property
    def _left(self) -> int:
        """The number of trials that are not suggested yet."""
        return 0 if self.exhausted else self._search.trials - len(self._trials)

    def is_due(self, workers: int) -> bool:
        """Return whether another trial may be suggested: no more trials are open than `workers` can run."""
        return self.is_begun and self._left > 0 and self.state.open < workers

    def next(self) -> Trial | None:
        """Return a new trial; None if the search is exhausted: the sampler, and then chance, suggest only known trials."""
        number = next(number for number in count() if number not in self._trials)
        known = self._known()
        for attempt in range(SAMPLED + DRAWN):
            sampler = self._search.sampler if attempt < SAMPLED else "random"
            cell, settings = suggest(self._space, known, sampler, seed_for("search", self._study, number, attempt))
            trial = cell.trial("search", settings, TUNING_SEED, number)
            if trial.trial_id not in self._observed:
                self._add(trial)
                return trial
        self.exhausted = True
        return None

    def _known(self) -> list[Observation]:
        """Return what the sampler knows: the results of earlier studies, then those of this one by number."""
        return [*self._warm, *(self._observation(trial) for _, trial in sorted(self._trials.items()))]

    def _observation(self, trial: Trial) -> Observation:
        ended, curve = self._ended.get(trial.trial_id), self._stopping.curve(POOL, trial.trial_id)
        value = smoothed(curve).value if curve else math.nan
        share = len(curve) / trial.settings.results
        return Observation(self._observed[trial.trial_id], ended.status if ended else "running", value, share)

    def choose(self, cells: Sequence[Cell]) -> dict[str, CellChoice]:
        """Return the settings to confirm by the key of their cell: the best ones of the best cells.

        All trials must have ended. If none finished with a reading, every cell gets the reason instead.
        """
        tune, best = cells[0].study.tune, self.state.choose(cells[0].study.tune)
        if best.trial is None:
            tried = {trial.cell for trial in self._trials.values()}
            return {cell.key: replace(best, cell=cell.name, settings=cell.settings) for cell in cells if cell.name in tried}
        of_cell: dict[str, Trial] = {}
        for trial in (*self.state.ranked(), *self.state.ranked_stopped()):  # cells without a finished trial come last
            of_cell.setdefault(trial.cell, trial)
        by_name = {cell.name: cell for cell in cells}
        found = {}
        for name, trial in list(of_cell.items())[: self._search.confirm]:
            cell, values = by_name[name], trial.settings
            edges = tuple(a for a, r in tune.items() if r.contains(getattr(values, a)) and r.at_edge(getattr(values, a)))
            found[cell.key] = CellChoice(name, trial, values, cell.confirm(values), edges)
        return found


def shared_stopping(plan: Plan) -> SharedStopping:
    """Return the study's early stopping for a search: one pool of trials, compared at equal shares of their planned epochs."""
    return SharedStopping(plan.study.early_stopping, shortest_results(plan.cells))


def shortest_results(cells: Sequence[Cell]) -> int:
    """Return the smallest number of epochs, or validations, that a trial of a search can have."""
    lengths = [cell.settings.results for cell in cells]
    for axis in ("epochs", "validations"):
        tuned = cells[0].study.tune.get(axis)
        lengths += [math.floor(value) for value in tuned.samples()] if tuned is not None else []
    return max(1, min(lengths))
