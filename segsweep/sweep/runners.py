"""The runners, by name: what carries out the work of a driver, and what it has to work with."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from segsweep.config.study import Study
from segsweep.context import ExecutionContext
from segsweep.errors import unknown
from segsweep.store.protocol import Store
from segsweep.sweep.cost import Measure
from segsweep.sweep.driver import Driver
from segsweep.sweep.inline import InlineRunner, open_inline
from segsweep.sweep.options import RUNNER_NAMES, Options
from segsweep.sweep.points import tuning_points
from segsweep.sweep.progress import View
from segsweep.sweep.worker_pool import NotLaunchedYetError, fit_pool, this_machine
from segsweep.training.device import Device, switches_restored


class Runner(Protocol):
    """Carries out the work of a driver, on so many `workers` of one kind of `device`."""

    @property
    def workers(self) -> int:
        """How many pieces of work run at once at most."""

    @property
    def device(self) -> Device:
        """What each worker computes on."""

    @property
    def label(self) -> str:
        """What the work runs on, in words."""

    @property
    def measure(self) -> Measure:
        """How to measure the speed of training there."""

    def resolve(self, precision: str) -> str:
        """Return what a precision is there: `float32` or `bfloat16`."""

    def run(self, driver: Driver, context: ExecutionContext) -> None:
        """Do all the work that the driver has. Ctrl-C is recorded and raised on."""


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
    """Yield the runner that the options name. Raises `UserError` for what does not fit here."""
    if options.runner not in RUNNERS:
        raise unknown("--runner", options.runner, RUNNER_NAMES)
    with switches_restored(), RUNNERS[options.runner](options, most_at_once(study), store, view) as runner:
        yield runner


@contextmanager
def runner_for_plan(options: Options, study: Study, store: Store, view: View) -> Iterator[Runner]:
    """Yield a runner to plan with. It starts no Ray and asks no autoscaler for machines: it looks at this machine instead."""
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
                "the cluster's autoscaler launches machines when the study runs; "
                "this plan, and what it counts as done, is for this machine"
            )
        yield runner


def _this_machine(options: Options, study: Study) -> InlineRunner:
    pool = fit_pool([this_machine()], options, most_at_once(study))
    return InlineRunner(pool.size.device, pool.workers, str(pool))


def most_at_once(study: Study) -> int:
    """Return how many pieces of work there can be at once."""
    of_a_cell = max(len(tuning_points(study.tune, study.trials_per_cell)), study.seeds, study.source_trials)
    return sum(len(study.folds(settings)) for _, settings in study.cells()) * of_a_cell
