"""The Ray runner: Ray Tune's loop executes the tasks that the planner selects."""

import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import ray
from ray import tune

from segsweep.config.user_objects import for_workers, register
from segsweep.context import ExecutionContext
from segsweep.errors import OutageError, UserError
from segsweep.store.protocol import SharedText, Store
from segsweep.sweep.driver import Driver
from segsweep.sweep.options import Options
from segsweep.sweep.progress import View
from segsweep.sweep.ray_runner.autoscaler import read_report
from segsweep.sweep.ray_runner.capacity import Capacity
from segsweep.sweep.ray_runner.cluster import cluster
from segsweep.sweep.ray_runner.deaths import death_of, memory_kills_as_deaths
from segsweep.sweep.ray_runner.machines import Machines, UnfitMachineError, elsewhere_than, open_machines, require_gpu
from segsweep.sweep.ray_runner.tuner import Dispatcher, PlannerScheduler, PlannerSearcher, Watch
from segsweep.sweep.ray_runner.waiting import Waiting
from segsweep.sweep.ray_runner.worker import Worker
from segsweep.sweep.signals import BY_USER, interruption
from segsweep.sweep.speeds import Measure
from segsweep.sweep.worker_pool import WorkerPool, processes_of
from segsweep.tasks.task import Task
from segsweep.training.device import Device, resolve_precision
from segsweep.training.speed import measure_speed
from segsweep.training.speed_key import SpeedKey
from segsweep.training.timings import Probe

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # segsweep writes its own records
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # results contain messages, no metrics
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # segsweep's handler does not wait for the end of an epoch
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # effectively never: Tune's own snapshots are not used
    "RAY_AIR_NEW_OUTPUT": "0",
}
MANY = 10**9  # limit of samples and of pending trials; the searcher determines the real number
FREE_SECONDS = 10.0  # time of waiting for a free GPU before a line is printed
RELAY = {"memory": 1.0}  # resources of a worker that only relays messages of its group; Tune rejects an empty reservation


@dataclass(frozen=True)
class RayRunner:
    """Executes tasks on the workers of a Ray cluster, whose machines may join and leave. `pool` fits at the start."""

    pool: WorkerPool
    machines: Machines
    options: Options
    name: str

    @property
    def workers(self) -> int:
        """The number of tasks that run at once, at the start."""
        return self.pool.workers

    @property
    def label(self) -> str:
        """The workers and their cluster, in words."""
        return f"{self.pool}, {self.name}"

    @property
    def device(self) -> Device:
        """The device on which each worker computes."""
        return self.pool.size.device

    def resolve(self, precision: str) -> str:
        """Return the precision that a setting means on the workers: `float32` or `bfloat16`."""
        if precision != "auto" or not self.pool.size.gpus:
            return "float32" if precision == "auto" else precision
        resolved: str = self._on_a_gpu(resolve_precision, precision, Device("cuda", 1))
        return resolved

    @property
    def measure(self) -> Measure:
        """The function that measures training speed: in this process for CPU workers, in a worker for GPUs."""
        return partial(self._on_a_gpu, _measure_with, for_workers()) if self.pool.size.gpus else measure_speed

    def _on_a_gpu(self, function: Callable[..., Any], *values: Any) -> Any:
        """Call a function in a process with a worker's share of a GPU, once one is free, and return its result.

        Machines on which torch finds no GPU are excluded. Raises `UserError` if no other machine has a GPU.
        """
        while True:
            elsewhere = elsewhere_than(self.machines.excluded)
            remote = ray.remote(num_cpus=0, num_gpus=self.pool.size.gpus, label_selector=elsewhere)(_with_gpu)
            answer = remote.remote(function, *values)
            if not ray.wait([answer], timeout=FREE_SECONDS)[0]:
                self.machines.notify("waiting for a free GPU: other jobs use all GPUs, or an autoscaler has yet to launch one")
            try:
                return ray.get(answer)
            except UnfitMachineError as error:
                machine, problem = death_of(str(error)).unfit or ("", str(error))
                self.machines.exclude(machine, problem)
                self.machines.require_some()
                if not any(node.gpus for node in self.machines.nodes()):
                    raise UserError(f"--device {self.options.device}: no machine has a working GPU; use cpu") from None

    def run(self, driver: Driver, context: ExecutionContext) -> None:
        """Run all tasks of the driver. On a request to end, record running tasks as interrupted and raise again."""
        dispatcher = Dispatcher(driver, context, self.machines, self._capacity(driver.view), self.processes, self.alike)
        driver.outage.check = dispatcher.check
        with (
            _quiet_tune({**ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": str(MANY)}),
            memory_kills_as_deaths(),
            context.store.scratch("tune-") as folder,
            interruption().deferred(),
        ):
            try:
                self._tuner(dispatcher, str(folder)).fit()
            except KeyboardInterrupt as request:
                dispatcher.interrupt(str(request) or BY_USER)
                raise
            except Exception:
                if isinstance(dispatcher.error, OutageError | UserError):
                    dispatcher.interrupt(str(dispatcher.error))
                if dispatcher.error is not None:
                    raise dispatcher.error from None  # Tune raises an error with only the text of this one
                raise

    def _capacity(self, view: View) -> Capacity:
        """Return the capacity that counts workers while the study runs."""
        minutes = self.options.wait_minutes
        limit_seconds = math.inf if minutes is None else 60 * minutes
        report = read_report if read_report().present else None
        return Capacity(self.pool, self.name, self.machines.nodes, view, report, limit_seconds)

    def processes(self, task: Task) -> int:
        """Return the number of processes that execute a task together."""
        return processes_of(task, self.options)

    @property
    def alike(self) -> bool:
        """Whether all tasks are executed by the same number of processes, so that groups can be reused."""
        return self.options.workers_per_stage == self.options.workers_per_trial

    def _tuner(self, dispatcher: Dispatcher, folder: str) -> tune.Tuner:
        name = f"segsweep-{uuid4().hex[:8]}"  # unique: two tuners on one cluster overwrite trainables of the same name
        trainable = tune.with_resources(type(name, (Worker,), {}), partial(_reserved, self.pool.size.bundle))
        trainable.__qualname__ = name  # the name in lists of processes
        return tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=PlannerSearcher(dispatcher),
                scheduler=PlannerScheduler(dispatcher),
                num_samples=MANY,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=folder,
                verbose=0,
                callbacks=[Watch(dispatcher)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )


def _reserved(bundle: dict[str, float], config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """Return the resources that a worker reserves.

    The processes of a group reserve their own resources, so the worker that relays their messages reserves almost nothing.
    """
    job = config["job"]
    selectors: Any = [elsewhere_than(job.excluded)] if job.excluded else None
    return tune.PlacementGroupFactory([bundle if job.group is None else RELAY], bundle_label_selector=selectors)


def _with_gpu(function: Callable[..., Any], *values: Any) -> Any:
    """Call a function. Raises `UnfitMachineError` if torch finds no GPU on this machine."""
    require_gpu()
    return function(*values)


def _measure_with(user_objects: dict[str, Any], key: SpeedKey, device: Device, cache: SharedText) -> Probe:
    """Measure training speed in another process, after registering the user objects of the study there."""
    register(user_objects)
    return measure_speed(key, device, cache)


@contextmanager
def open_ray(options: Options, at_most: int, store: Store, view: View, *, may_ask: bool) -> Iterator[RayRunner]:
    """Yield a runner on the running cluster, or on a cluster on this machine that exists only within this context.

    Machines that cannot run segsweep or do not see the store are excluded. If no worker fits and `may_ask` is set, machines are
    requested from an autoscaler. Raises the errors of `Waiting.pool`.
    """
    with cluster(view.notify) as name, open_machines(store, view.notify) as machines:
        machines.check_all()
        yield RayRunner(Waiting(machines, options, at_most, view).pool(may_ask=may_ask), machines, options, name)


@contextmanager
def _quiet_tune(environment: dict[str, str]) -> Iterator[None]:
    """Within this context, set environment variables for Tune and silence its log; users do not interact with Tune."""
    logger, before = logging.getLogger("ray.tune"), {name: os.environ.get(name) for name in environment}
    level = logger.level
    os.environ.update(environment)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
