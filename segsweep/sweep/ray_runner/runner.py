"""The Ray runner: the planner decides, Tune's loop carries out."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any
from uuid import uuid4

import ray
from ray import tune

from segsweep.config.user_objects import for_workers, register
from segsweep.context import ExecutionContext
from segsweep.errors import OutageError
from segsweep.store.protocol import Store
from segsweep.sweep.cost import Measure
from segsweep.sweep.driver import Driver
from segsweep.sweep.options import Options
from segsweep.sweep.ray_runner.cluster import check_nodes, cluster, nodes, precision_on_gpus
from segsweep.sweep.ray_runner.deaths import memory_kills_as_deaths
from segsweep.sweep.ray_runner.tuner import Dispatcher, PlannerScheduler, PlannerSearcher, Watch
from segsweep.sweep.ray_runner.worker import Worker
from segsweep.sweep.worker_pool import WorkerPool, fit_pool
from segsweep.tasks.kinds import KINDS
from segsweep.tasks.task import Task
from segsweep.training.device import Device
from segsweep.training.speed import measure_speed

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # records are our own
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # results hold messages, no metrics
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours does not wait for the end of an epoch
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's own snapshots: nobody reads them
    "RAY_AIR_NEW_OUTPUT": "0",
}
MANY = 10**9  # samples: the searcher says when it is over
RELAY = {"memory": 1.0}  # what a worker reserves that only passes on what others do; Tune refuses nothing at all


@dataclass(frozen=True)
class RayRunner:
    """Carries work out on the workers of a Ray cluster."""

    pool: WorkerPool
    options: Options
    name: str

    @property
    def workers(self) -> int:
        """How many pieces of work run at once at most."""
        return self.pool.workers

    @property
    def label(self) -> str:
        """What the work runs on, in words."""
        return f"{self.pool}, {self.name}"

    @property
    def device(self) -> Device:
        """What each worker computes on."""
        return self.pool.device

    def resolve(self, precision: str) -> str:
        """Return `float32` or `bfloat16`."""
        if precision != "auto" or not self.pool.gpus:
            return "float32" if precision == "auto" else precision
        return precision_on_gpus(precision, self.pool.gpus)

    @property
    def measure(self) -> Measure:
        """How to measure the speed of training: here on a CPU, by a worker on a GPU."""
        if not self.pool.gpus:
            return measure_speed
        remote, user_objects = ray.remote(num_cpus=0, num_gpus=self.pool.gpus)(_measure_with), for_workers()
        return lambda *values: ray.get(remote.remote(user_objects, *values))

    def run(self, driver: Driver, context: ExecutionContext) -> None:
        """Do all the work that the driver has. Ctrl-C is recorded and raised on."""
        driver.planner.workers = self.workers
        dispatcher = Dispatcher(driver, context, self.pool, self.processes, self.alike)
        driver.outage.check = dispatcher.check
        with (
            _quiet_tune({**ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": str(self.pool.workers)}),
            memory_kills_as_deaths(),
            context.store.scratch("tune-") as folder,
            _interruptible(dispatcher),
        ):
            try:
                self._tuner(dispatcher, str(folder)).fit()
            except KeyboardInterrupt:
                dispatcher.interrupt()
                raise
            except Exception:
                if isinstance(dispatcher.error, OutageError):
                    dispatcher.interrupt(str(dispatcher.error))
                if dispatcher.error is not None:
                    raise dispatcher.error from None  # Tune wraps it in text
                raise

    def processes(self, task: Task) -> int:
        """Return how many processes execute a task together."""
        if not (task.shareable or self.alike):
            return 1
        return int(getattr(self.options, KINDS[task.kind].group_option))

    @property
    def alike(self) -> bool:
        """Whether all tasks are performed by equally many processes, so that groups can stay up."""
        return self.options.workers_per_stage == self.options.workers_per_trial

    def _tuner(self, dispatcher: Dispatcher, folder: str) -> tune.Tuner:
        name = f"segsweep-{uuid4().hex[:8]}"  # two tuners on one cluster overwrite trainables of the same name
        trainable = tune.with_resources(type(name, (Worker,), {}), self._resources)
        trainable.__qualname__ = name  # what lists of processes show
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

    def _resources(self, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return what a worker reserves. Of several processes each reserves its own, and the relay next to nothing."""
        if config["job"].group is not None:
            return tune.PlacementGroupFactory([RELAY])
        return tune.PlacementGroupFactory([{"CPU": self.pool.cpus, **({"GPU": self.pool.gpus} if self.pool.gpus else {})}])


def _measure_with(user_objects: dict[str, Any], *values: Any) -> tuple[float, float]:
    """Measure in another process, which knows nothing yet of the architectures that the study brought."""
    register(user_objects)
    return measure_speed(*values)


@contextmanager
def open_ray(options: Options, at_most: int, store: Store) -> Iterator[RayRunner]:
    """Yield a runner on the cluster at hand, or on one that is started here for as long. Every machine must see the store."""
    with cluster() as name:
        check_nodes(store)
        yield RayRunner(fit_pool(nodes(), options, at_most), options, name)


@contextmanager
def _quiet_tune(environment: dict[str, str]) -> Iterator[None]:
    """Set what Tune reads from the environment, and keep it silent: its user never meets it."""
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


@contextmanager
def _interruptible(dispatcher: Dispatcher) -> Iterator[None]:
    """Have Ctrl-C and a polite kill end the sweep between two steps of Tune's loop, where records and memory agree."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if dispatcher.interrupted:
            raise KeyboardInterrupt
        dispatcher.interrupted = True

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
