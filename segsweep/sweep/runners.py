"""The runners by name. A runner executes the tasks of a driver on its workers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from segsweep.config.study import Study
from segsweep.context import ExecutionContext
from segsweep.errors import unknown
from segsweep.store.protocol import Store
from segsweep.sweep.driver import Driver
from segsweep.sweep.inline import InlineRunner, open_inline
from segsweep.sweep.options import RUNNER_NAMES, Options
from segsweep.sweep.points import tuning_points
from segsweep.sweep.progress import View
from segsweep.sweep.speeds import Measure
from segsweep.sweep.worker_pool import NotLaunchedYetError, fit_pool, this_machine
from segsweep.training.device import Device, switches_restored


class Runner(Protocol):
    """Executes the tasks of a driver, on `workers` workers with one kind of `device`."""

    @property
    def workers(self) -> int:
        """The maximum number of tasks that run at once."""

    @property
    def device(self) -> Device:
        """The device on which each worker computes."""

    @property
    def label(self) -> str:
        """The workers and their hardware, in words."""

    @property
    def measure(self) -> Measure:
        """The function that measures training speed on the workers' hardware."""

    def resolve(self, precision: str) -> str:
        """Return the precision that a setting means on the device: `float32` or `bfloat16`."""

    def run(self, driver: Driver, context: ExecutionContext) -> None:
        """Run all tasks of the driver. On Ctrl-C, record running tasks as interrupted and raise again."""


def _open_ray(
    options: Options, at_most: int, store: Store, view: View, *, may_ask: bool = True
) -> AbstractContextManager[Runner]:
    from segsweep.sweep.ray_runner.runner import open_ray  # takes seconds to import

    return open_ray(options, at_most, store, view, may_ask=may_ask)


def _cluster_is_running() -> bool:
    from segsweep.sweep.ray_runner.cluster import cluster_address

    return cluster_address() not in (None, "local")


def _check_start() -> None:
    from segsweep.sweep.ray_runner.local_ray import check_start

    check_start()


Open = Callable[[Options, int, Store, View], AbstractContextManager[Runner]]
RUNNERS: Mapping[str, Open] = {"ray": _open_ray, "inline": open_inline}


@contextmanager
def open_runner(options: Options, study: Study, store: Store, view: View) -> Iterator[Runner]:
    """Yield the runner that the options name. Raises `UserError` if the options do not fit the machines."""
    if options.runner not in RUNNERS:
        raise unknown("--runner", options.runner, RUNNER_NAMES)
    with switches_restored(), RUNNERS[options.runner](options, most_at_once(study), store, view) as runner:
        yield runner


@contextmanager
def runner_for_plan(options: Options, study: Study, store: Store, view: View) -> Iterator[Runner]:
    """Yield a runner for planning. It starts no Ray and requests no machines from an autoscaler.

    Without a running cluster, or until an autoscaler has launched its machines, it describes this machine.
    """
    if options.runner != "ray":
        with open_runner(options, study, store, view) as runner:
            yield runner
        return
    with switches_restored(), ExitStack() as stack:
        if not _cluster_is_running():
            _check_start()
            yield _this_machine(options, study)
            return
        try:
            opened = _open_ray(options, most_at_once(study), store, view, may_ask=False)
            runner = stack.enter_context(opened)
        except NotLaunchedYetError:
            runner = _this_machine(Options(max_concurrent=options.max_concurrent), study)
            view.notify(
                "the cluster's autoscaler launches machines only when the study runs; "
                "the times and finished trials of this plan are those for this machine"
            )
        yield runner


def _this_machine(options: Options, study: Study) -> InlineRunner:
    pool = fit_pool([this_machine()], options, most_at_once(study))
    return InlineRunner(pool.size.device, pool.workers, str(pool))


def most_at_once(study: Study) -> int:
    """Return the maximum number of tasks of a study that can run at once."""
    if study.search is not None:
        return max(study.search.trials, study.search.confirm * study.seeds)
    of_a_cell = max(len(tuning_points(study.tune, study.trials_per_cell)), study.seeds, study.source_trials)
    return sum(len(study.folds(settings)) for _, settings in study.cells()) * of_a_cell
