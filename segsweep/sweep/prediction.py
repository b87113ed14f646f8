"""The prediction of a study's remaining work: time, memory and disk, per cell and in all, each with its range."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from segsweep.config.settings import Settings
from segsweep.config.study import TUNING_SEED
from segsweep.config.work import Phase, StageSpec
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.cost import CostModel
from segsweep.sweep.estimate import Estimate
from segsweep.sweep.plan import Cell, chain
from segsweep.sweep.planner import Planner
from segsweep.tasks.score_task import ScoreTask
from segsweep.tasks.stage_task import StageTask
from segsweep.tasks.task import Task
from segsweep.tasks.trial_task import TrialTask
from segsweep.training.speed_key import SpeedKey

START_SECONDS = {"ray": 14.0}  # of workers' processes with their imports on 2 cores, until a run is known: measured
MEMORY_FACTOR = 1.3  # factor within which peaks of memory lie
DISK_FACTOR = 1.15
PREDICTION_BYTES, PIXELS_PER_BYTE = 250, 30  # of a stored prediction: measured at 48 px
EXAMPLE_BYTES_PER_PIXEL = 15  # six test images with masks, as PNG
SEARCH = "search"  # name of the only row of a search
PREPARED_BYTES_PER_PIXEL = 4  # three channels and a mask


@dataclass(frozen=True)
class Price:
    """The remaining work of one cell, or of all sources: `tasks` trials or stages, and seconds on one worker.

    `memory_bytes` is the peak of one worker (None if unknown), `disk_bytes` what stays in the store.
    """

    name: str
    tasks: int
    seconds: Estimate
    memory_bytes: Estimate | None
    disk_bytes: Estimate

    def as_dict(self) -> dict[str, Any]:
        """Return the price as plain values."""
        memory = None if self.memory_bytes is None else self.memory_bytes.as_dict()
        values = {"seconds": self.seconds.as_dict(), "memory_bytes": memory, "disk_bytes": self.disk_bytes.as_dict()}
        return {"name": self.name, "tasks": self.tasks, **values}


@dataclass(frozen=True)
class Prediction:
    """The prediction of the remaining work of a study on `workers` workers.

    `finish_seconds` is the time from the first task to the last, `start_seconds` that of starting workers before it.
    `checkpoint_bytes` are on disk while the study runs. `recorded` and `probed` count the kinds of work whose speed comes from
    real tasks and from probes. `free_share` is the share of a core that one thread gets now.
    """

    cells: tuple[Price, ...]
    sources: Price
    finish_seconds: Estimate
    start_seconds: float
    tuning_share: Estimate
    data_bytes: int
    checkpoint_bytes: Estimate
    workers: int
    recorded: int
    probed: int
    free_share: float

    @property
    def device_seconds(self) -> Estimate:
        """The seconds of all tasks on one worker."""
        return Estimate.total(price.seconds for price in (*self.cells, self.sources))

    @property
    def memory_bytes(self) -> Estimate | None:
        """The largest peak of one worker; None if unknown."""
        known = [price.memory_bytes for price in (*self.cells, self.sources) if price.memory_bytes is not None]
        return max(known, key=lambda memory: memory.expected, default=None)

    @property
    def disk_bytes(self) -> Estimate:
        """What the study adds to the store, without checkpoints, which are removed at the end."""
        kept = Estimate.total(price.disk_bytes for price in (*self.cells, self.sources))
        return kept + Estimate.exact(self.data_bytes)

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as plain values; times in seconds, sizes in bytes."""
        memory = self.memory_bytes
        return {
            "finish_seconds": self.finish_seconds.as_dict(),
            "start_seconds": self.start_seconds,
            "device_seconds": self.device_seconds.as_dict(),
            "tuning_share": self.tuning_share.as_dict(),
            "memory_bytes": None if memory is None else memory.as_dict(),
            "disk_bytes": self.disk_bytes.as_dict(),
            "checkpoint_bytes": self.checkpoint_bytes.as_dict(),
            "speeds_from_records": self.recorded,
            "speeds_from_probes": self.probed,
            "free_share": self.free_share,
            "cells": [price.as_dict() for price in self.cells],
            "sources": self.sources.as_dict(),
        }


def predict(
    planner: Planner, costs: CostModel, catalog: Catalog, workers: int, runner: str = "", undecoded: Iterable[str] = ()
) -> Prediction:
    """Return the prediction of the work that a planner has left, on `workers` workers.

    `runner` is the runner's name, whose start earlier runs have measured. `undecoded` names datasets that are prepared first.
    """
    left = _left(planner)
    of_cells: dict[str, list[Task]] = {name: [] for name in planner.plan.names}
    for cell, tasks in left:
        of_cells[cell.name] += tasks
    if planner.plan.study.search is not None:
        of_cells = {SEARCH: [task for _, tasks in left for task in tasks]}
    stages: list[Task] = [StageTask(spec) for spec in planner.missing_stages() if spec.stage.dataset is not None]
    scores = [task for task, done in planner.all_scores() if not done]
    cells = tuple(_price(name, tasks, costs) for name, tasks in of_cells.items())
    sources = _price("sources", [*stages, *scores], costs)
    everything = [*stages, *scores, *(task for _, tasks in left for task in tasks)]
    keys = {key for task in everything if (key := costs.key(task)) is not None}
    recorded = sum(costs.speeds.of(key).is_recorded for key in keys)
    largest = max((_checkpoint_bytes(costs, key) for key in keys), default=0)
    return Prediction(
        cells,
        sources,
        _finish(planner, costs, left, Estimate.total(price.seconds for price in (*cells, sources)), workers),
        costs.speeds.timings.starts.get(runner, START_SECONDS.get(runner, 0.0)),
        costs.tuning_share,
        _data_bytes(planner, catalog, frozenset(undecoded)),
        Estimate.within(float(workers * largest), DISK_FACTOR),
        workers,
        recorded,
        len(keys) - recorded,
        costs.speeds.free_share,
    )


def _left(planner: Planner) -> list[tuple[Cell, list[Task]]]:
    """Return the trials of each cell that have not ended. A tuning trial that cells share counts for the first one."""
    if planner.plan.study.search is not None:
        return _left_of_search(planner)
    found, seen = [], set[str]()
    for cell in planner.plan.cells:
        ended, choice = planner.ended(cell), planner.choices.get(cell.key)
        confirm = choice.confirm if choice is not None else () if cell.key in planner.unchosen else cell.confirm(cell.settings)
        trials = [trial for trial in (*cell.tuning, *confirm) if trial.trial_id not in ended]
        known = [TrialTask(trial) for trial in trials if trial.phase == "confirm" or trial.trial_id not in seen]
        seen |= {trial.trial_id for trial in cell.tuning}
        found.append((cell, list[Task](known)))
    return found


def _left_of_search(planner: Planner) -> list[tuple[Cell, list[Task]]]:
    """Return the trials and confirmed runs that a search has left, divided over all cells: which they will be is not known."""
    plan, cells = planner.plan, planner.plan.cells
    confirmed = [trial for choice in planner.choices.values() for trial in choice.confirm]
    ended = {trial for cell in cells for trial in planner.ended(cell)}
    searched = plan.tuning_trials - sum(trial.trial_id in ended for cell in cells for trial in cell.tuning)
    to_confirm = plan.confirmation_trials - sum(trial.trial_id in ended for trial in confirmed)
    found: list[tuple[Cell, list[Task]]] = [(cell, []) for cell in cells]
    phases: list[tuple[Phase, int]] = [("search", searched), ("confirm", to_confirm)]
    for phase, count in phases:
        for number in range(count):
            cell, tasks = found[number % len(cells)]
            tasks.append(TrialTask(cell.trial(phase, cell.settings, TUNING_SEED + (phase == "confirm"), number)))
    return found


def _price(name: str, tasks: list[Task], costs: CostModel) -> Price:
    """Return the price of some tasks."""
    seconds = Estimate.total(map(costs.estimate, tasks))
    memory = max((_memory(task, costs) or 0.0 for task in tasks), default=0.0)
    disk = sum(_kept_bytes(task, costs) for task in tasks)
    peak = Estimate.within(memory, MEMORY_FACTOR) if memory else None
    count = sum(not isinstance(task, ScoreTask) for task in tasks)
    return Price(name, count, seconds, peak, Estimate.within(disk, DISK_FACTOR))


def _memory(task: Task, costs: CostModel) -> float | None:
    """Return the peak memory of the worker that runs a task, in bytes; None if no probe measured it."""
    key = costs.key(task)
    probe = None if key is None else costs.speeds.known_probe(key)
    if probe is None or probe.memory_bytes is None:
        return None
    return float(probe.memory_bytes + (probe.base_bytes or 0))


def _kept_bytes(task: Task, costs: CostModel) -> float:
    """Return the size of what a task leaves in the store, in bytes: weights, and of confirmed runs predictions and examples."""
    key = costs.key(task)
    probe = None if key is None else costs.speeds.known_probe(key)
    weights = 0 if probe is None else probe.weight_bytes
    if isinstance(task, StageTask):
        return float(weights)
    if not isinstance(task, TrialTask) or task.spec.phase != "confirm":
        return 0.0
    settings: Settings = task.spec.settings
    pixels = settings.image_px**2
    predicted = costs.test_images(settings) * (PREDICTION_BYTES + pixels / PIXELS_PER_BYTE)
    return weights + predicted + EXAMPLE_BYTES_PER_PIXEL * pixels


def _checkpoint_bytes(costs: CostModel, key: SpeedKey) -> float:
    """Return the size of a checkpoint: present and best weights, and two moments of every trainable parameter."""
    probe = costs.speeds.known_probe(key)
    return 0.0 if probe is None else 2.0 * (probe.weight_bytes + probe.trainable_bytes)


def _finish(planner: Planner, costs: CostModel, left: list[tuple[Cell, list[Task]]], work: Estimate, workers: int) -> Estimate:
    """Return the time on `workers` workers: the work of each, but at least the longest chain of stages, tuning and confirming."""
    paths = [_path(planner, costs, cell, tasks) for cell, tasks in left if tasks]
    shared = work * (1 / workers)
    for path in paths:
        shared = shared.at_least(path)
    return shared


def _path(planner: Planner, costs: CostModel, cell: Cell, tasks: list[Task]) -> Estimate:
    """Return the time of the longest sequence of tasks of a cell: its stages, one tuning trial, one confirmed run."""
    unbuilt = planner.unbuilt(_stages(cell))
    of_phase = [[task for task in tasks if (task.spec.phase == "confirm") == last][:1] for last in (False, True)]
    return Estimate.total(map(costs.estimate, [*map(StageTask, unbuilt), *of_phase[0], *of_phase[1]]))


def _stages(cell: Cell) -> Iterator[StageSpec]:
    return (spec for spec in chain(cell.stages[0]) if spec.stage.dataset is not None)


def _data_bytes(planner: Planner, catalog: Catalog, undecoded: frozenset[str]) -> int:
    """Return the size of the datasets that are prepared first."""
    study, sizes = planner.plan.study, dict[tuple[str, int], int]()
    for cell in planner.plan.cells:
        settings = cell.settings
        if study.target_name in undecoded:
            sizes[study.target_name, settings.image_px] = sum(catalog.target_sizes(study, settings.dev_share, settings.fold))
        for spec in _stages(cell):
            if (name := spec.stage.dataset) in undecoded and name is not None:
                sizes[name, int(spec.settings["image_px"])] = sum(catalog.source_sizes(name, None, settings.source_split))
    return sum(PREPARED_BYTES_PER_PIXEL * pixels**2 * images for (_, pixels), images in sizes.items())
