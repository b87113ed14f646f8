"""The state of one cell during tuning: its open trials, and the choice of a setting once all have ended."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from segsweep.config.keep import Reading, smoothed
from segsweep.config.space import Choice, Range
from segsweep.config.work import Trial
from segsweep.sweep.decisions import CellChoice, Ended
from segsweep.sweep.early_stopping import PerCellStopping
from segsweep.sweep.plan import Cell
from segsweep.sweep.search_stopping import SharedStopping


class CellState:
    """Tracks the open, paused and finished tuning trials of a cell, and chooses its setting.

    `ended` maps each ended trial of the study to how it ended; `stopping` holds the curves of all cells. The planner updates
    both while trials run. With `points`, the cell has only its first `points` tuning trials until `limit` sets another number.
    """

    def __init__(
        self, cell: Cell, ended: Mapping[str, Ended], stopping: PerCellStopping | SharedStopping, points: int | None = None
    ) -> None:
        self._whole = cell
        self.tuning: dict[str, Trial] = {}
        self._ended, self._stopping = ended, stopping
        self.paused: dict[str, int] = {}  # id of a paused trial -> the epoch after which it paused
        self.choice: CellChoice | None = None
        self.limit(points)

    def limit(self, points: int | None) -> tuple[Trial, ...]:
        """Set the number of tuning trials; None: all of the cell. Return the trials that the cell has now and had not before."""
        before = self.tuning
        self.cell = replace(self._whole, tuning=self._whole.tuning[:points])
        self.tuning = {trial.trial_id: trial for trial in self.cell.tuning}
        self._open = {identity for identity in self.tuning if identity not in self._ended}
        self._scored = {trial.trial_id for trial in self._with_status("finished") if self._is_scored(trial)}
        return tuple(trial for identity, trial in self.tuning.items() if identity not in before)

    def add(self, trial: Trial) -> None:
        """Add a trial that a search has suggested. The readings of an ended trial must follow before its state is read."""
        self.cell = replace(self.cell, tuning=(*self.cell.tuning, trial))
        self.tuning[trial.trial_id] = trial
        if trial.trial_id not in self._ended:
            self._open.add(trial.trial_id)

    def restored(self) -> None:
        """Count the added trials that had finished in an earlier start, whose readings are known now."""
        self._scored = {trial.trial_id for trial in self._with_status("finished") if self._is_scored(trial)}

    @property
    def open(self) -> int:
        """The number of tuning trials that have not ended."""
        return len(self._open)

    def ranked(self) -> list[Trial]:
        """Return the finished trials with a reading, the best first."""
        scored = [trial for trial in self.cell.tuning if trial.trial_id in self._scored]
        return sorted(scored, key=self._rank, reverse=True)

    def ranked_stopped(self) -> list[Trial]:
        """Return the stopped trials, the best first."""
        return sorted(self._with_status("stopped"), key=self._rank, reverse=True)

    @property
    def tuned(self) -> bool:
        """Whether all tuning trials have ended."""
        return not self._open

    def record(self, identity: str, ended: Ended) -> None:
        """Record that a trial has ended. Confirmed runs are ignored."""
        self._open.discard(identity)
        self.paused.pop(identity, None)
        if identity in self.tuning and ended.status == "finished" and self._is_scored(self.tuning[identity]):
            self._scored.add(identity)

    def reopen(self, trial: Trial) -> None:
        """Record that a stopped trial is rerun."""
        self._open.add(trial.trial_id)

    def is_last(self, trial: Trial) -> bool:
        """Return whether all other tuning trials have ended and none of them finished with a reading."""
        return not self._scored and self._open <= {trial.trial_id}

    def best_stopped(self) -> Trial | None:
        """Return the best stopped trial if no trial finished with a reading (it is then rerun); otherwise None."""
        stopped = self._with_status("stopped")
        return self._best(stopped) if stopped and not self._scored else None

    def all_paused(self) -> Trial | None:
        """Return the best paused trial if every open trial is paused, so that no further result can arrive; otherwise None."""
        if not self.paused or len(self._open) > len(self.paused):
            return None
        return self._best(trial for trial in self.cell.tuning if trial.trial_id in self.paused)

    def choose(self, tune: Mapping[str, Range]) -> CellChoice:
        """Return the setting of the best finished trial, or the reason why no setting can be chosen.

        All tuning trials must have ended.
        """
        cell = self.cell
        if not cell.tuning:
            return CellChoice(cell.name, None, cell.settings, cell.confirm(cell.settings), ())
        finished = self._with_status("finished")
        known = any(self._stopping.curve(cell.key, trial.trial_id) for trial in finished)
        assert known or not finished, f"cell {cell.key}: trials have finished, but no epoch of them is known"
        if self._scored:
            best = self._best(trial for trial in cell.tuning if trial.trial_id in self._scored)
            return CellChoice(cell.name, best, best.settings, cell.confirm(best.settings), at_edge(cell, best, tune))
        return CellChoice(cell.name, None, cell.settings, (), (), self._why_none())

    def _with_status(self, status: str) -> list[Trial]:
        """Return the tuning trials that ended with `status`."""
        ends = ((trial, self._ended.get(trial.trial_id)) for trial in self.cell.tuning)
        return [trial for trial, end in ends if end is not None and end.status == status]

    def _score(self, trial: Trial) -> Reading:
        """Return the mean of a trial's last readings; minus infinity if it has no readings or they are NaN."""
        curve = self._stopping.curve(self.cell.key, trial.trial_id)
        score = smoothed(curve) if curve else Reading(math.nan)
        return Reading(-math.inf) if math.isnan(score.value) else score

    def _is_scored(self, trial: Trial) -> bool:
        return self._score(trial).value > -math.inf

    def _best(self, trials: Iterable[Trial]) -> Trial:
        """Return the trial with the best mean of its last readings; ties go to the first tuning point."""
        return max(trials, key=self._rank)

    def _rank(self, trial: Trial) -> tuple[Reading, int]:
        return self._score(trial), -(trial.point or 0)

    def _why_none(self) -> str:
        """Return the reason why a cell could not choose a setting from its ended tuning trials."""
        ended = [self._ended[trial.trial_id] for trial in self.cell.tuning]
        verbs = {"failed": "failed", "skipped": "had no source"}
        counts = Counter(verbs.get(end.status, "finished without a valid reading") for end in ended)
        reasons = ", ".join(f"{count} of {len(ended)} tuning trials {verb}" for verb, count in counts.items())
        first = next((f"; the first: {end.error}" for end in ended if end.error), "")
        return f"no setting could be chosen: {reasons}{first}"


def at_edge(cell: Cell, best: Trial, tune: Mapping[str, Range]) -> tuple[str, ...]:
    """Return the tuned axes whose chosen value lies at an edge: the lowest or highest tried, or in the outer tenth of its range.

    An axis with listed values counts only if at least three numbers were tried.
    """
    found = []
    for axis, tuned in tune.items():
        value: Any = getattr(best.settings, axis)
        tried = list(dict.fromkeys(getattr(trial.settings, axis) for trial in cell.tuning))
        if isinstance(tuned, Choice):
            is_edge = Choice(tried).at_edge(value)
        else:
            is_edge = tuned.at_edge(value) or value in (min(tried), max(tried))
        found += [axis] if is_edge else []
    return tuple(found)
