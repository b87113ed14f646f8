"""Tuning of the source's learning rate: which rates are untried, and which one a cell chooses."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from segsweep.config.work import StageSpec
from segsweep.sweep.built import Built
from segsweep.sweep.decisions import SourceChoice
from segsweep.sweep.plan import Cell, chain
from segsweep.tasks.stage_task import StageTask

ReadStage = Callable[[str], float]  # key of a built supervised stage -> its reading by `keep`, higher is better


class SourceRates:
    """The cells that wait for the choice of their source's learning rate.

    A rate is tried once its last supervised stage is built, or a stage of its chain has failed. `retried` holds the failed stages
    that a retry counts as not run. They are not retried in a cell that has trained another rate: its choice stands.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        built: Built,
        failed: Mapping[str, str],
        readings: Mapping[str, float],
        read: ReadStage,
        retried: Collection[str],
    ) -> None:
        self.cells = {cell.key: cell for cell in cells if cell.source_rates}
        self._built, self._failed, self._read = built, failed, read
        self._readings = dict(readings)
        self._given_up: set[str] = set()
        self._cells_of: dict[str, list[str]] = defaultdict(list)  # id of a stage -> cells that wait for it
        for cell in self.cells.values():
            lasts = [rate.stage for rate in cell.source_rates]
            if any(self._is_tried(last) for last in lasts):
                self._given_up |= {last.spec_id for last in lasts if any(stage.spec_id in retried for stage in chain(last))}
            for identity in dict.fromkeys(stage.spec_id for last in lasts for stage in chain(last)):
                self._cells_of[identity].append(cell.key)

    def untried(self, cell: Cell) -> list[StageSpec]:
        """Return the last stages of the rates that a cell has not tried yet."""
        lasts = [rate.stage for rate in cell.source_rates]
        return [last for last in lasts if last.spec_id not in self._given_up and not self._is_tried(last)]

    def waiting_for(self, stage_id: str) -> list[Cell]:
        """Return the cells that wait for a stage."""
        return [self.cells[key] for key in self._cells_of.get(stage_id, ()) if key in self.cells]

    def choose(self, cell: Cell) -> tuple[SourceChoice, Cell]:
        """Return the rate with the best reading (ties: the first), and the cell with this rate. All rates must be tried."""
        tried = tuple((rate, self._reading(rate.stage)) for rate in cell.source_rates)
        readings = [
            (-math.inf if value is None or math.isnan(value) else value, -number) for number, (_, value) in enumerate(tried)
        ]
        chosen = tried[-max(readings)[1]][0]
        del self.cells[cell.key]
        return SourceChoice(chosen, tried), replace(chosen.cell, source_rates=cell.source_rates)

    def _is_tried(self, stage: StageSpec) -> bool:
        failed = any(each.spec_id in self._failed for each in chain(stage))
        return failed or stage.spec_id in self._readings or self._built.is_built(StageTask(stage))

    def _reading(self, stage: StageSpec) -> float | None:
        """Return the reading of a tried stage; None if it or a stage before it failed."""
        task = StageTask(stage)
        if stage.spec_id not in self._readings and self._built.is_built(task):
            self._readings[stage.spec_id] = self._read(self._built.key(task))
        return self._readings.get(stage.spec_id)
