"""What stands between Tune's loop and the planner: a searcher that hands out work, a scheduler that takes what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from segsweep.context import ExecutionContext
from segsweep.sweep.driver import Driver
from segsweep.sweep.ray_runner.capacity import Capacity
from segsweep.sweep.ray_runner.deaths import death_of
from segsweep.sweep.ray_runner.group import GroupSize
from segsweep.sweep.ray_runner.machines import Machines
from segsweep.sweep.ray_runner.worker import MESSAGES, Job
from segsweep.sweep.signals import interruption
from segsweep.tasks.messages import Message
from segsweep.tasks.task import Assignment, Task


@dataclass
class Dispatcher:
    """Knows which of Tune's trials performs which task, and passes its messages to the driver.

    A task is handed out only while workers are free for it, or while an autoscaler is asked for them; one for several waits
    until as many are, and holds back what comes after it. `error` is what the driver itself raised, which Tune would wrap into
    text.
    """

    driver: Driver
    context: ExecutionContext
    machines: Machines
    capacity: Capacity
    processes: Callable[[Task], int]
    keep_groups: bool
    error: Exception | None = None
    running: dict[str, Task] = field(default_factory=dict)
    actors: dict[str, Any] = field(default_factory=dict)
    _next: Assignment | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles all it is given, for a restore that is not used."""
        return {}

    def suggest(self, tune_id: str) -> dict[str, Any] | str | None:
        """Return the configuration of a new trial of Tune's, None where nothing can start now."""
        self.check()
        wanted = self.processes(self._next.task) if self._next is not None else 1
        free = self.capacity.places(wanted) - sum(self.processes(task) for task in self.running.values())
        self.driver.planner.workers = max(1, self.capacity.workers)
        if free < 1:
            return None
        self._next = self._next or self.driver.next_task()
        if self._next is None:
            finished: str | None = Searcher.FINISHED if self.driver.planner.done else None
            return finished
        assignment, processes = self._next, self.processes(self._next.task)
        if processes > free:
            return None
        self._next = None
        self.running[tune_id] = assignment.task
        excluded, size = self.machines.excluded, self.capacity.pool.size
        group = GroupSize(processes, size.cpus, size.gpus, excluded) if processes > 1 else None
        return {"job": Job(assignment, self.context, group, self.keep_groups, excluded, self.machines.check)}

    def check(self) -> None:
        """Raise `KeyboardInterrupt` where the end was asked for; what runs is recorded as interrupted first."""
        if (reason := interruption().reason) is not None:
            self.interrupt(reason)
        interruption().raise_if_asked()

    def began(self, tune_id: str, actor: Any) -> None:
        """Take that a worker has its job."""
        self.actors[tune_id] = actor
        self.driver.begin(self.running[tune_id])

    def took(self, tune_id: str, messages: list[Message]) -> bool:
        """Take the messages of one step, and return whether the work goes on."""
        task = self.running[tune_id]
        goes_on = all(self.driver.handle(task, message) for message in messages)
        if not goes_on:
            self.actors[tune_id].release.remote()  # at once, not when the worker is needed again
            self._forget(tune_id)
        return goes_on

    def died(self, tune_id: str, report: str) -> None:
        """Handle the death of a worker, or one that could not start, by Ray's text about it."""
        if (task := self.running.get(tune_id)) is None:
            return
        self._forget(tune_id)
        death = death_of(report)
        unfit = death.unfit is not None and self._exclude(*death.unfit)
        self.machines.refresh()
        self.driver.died(task, death.reason, counts=not (death.with_machine or unfit))

    def _exclude(self, machine: str, problem: str) -> bool:
        """Leave out a machine, named by its id or its address, that cannot run segsweep; return whether it is at fault.

        The driver's own machine never is, and none where the driver itself does not find its beacon in the store. Raises
        `UserError` where no machine is left and no autoscaler launches others.
        """
        identity = self.machines.find(machine)
        if identity in (None, self.machines.here) or self.machines.check.problem() is not None:
            return False
        self.machines.exclude(str(identity), problem)
        if self.capacity.report is None:
            self.machines.require_some()
        return True

    def interrupt(self, reason: str) -> None:
        """Record that all running work was broken off, and have its workers gone at once, unless their cluster has gone."""
        for task in self.running.values():
            self.driver.interrupt(task, reason)
        for actor in self.actors.values() if not interruption().detail else ():
            ray.kill(actor)
        self.running, self.actors = {}, {}

    def _forget(self, tune_id: str) -> None:
        del self.running[tune_id]
        self.actors.pop(tune_id, None)


def _kept(method: Callable[..., Any]) -> Callable[..., Any]:
    """Have a hook of Tune's keep what the driver raises."""

    def hook(self: Any, *values: Any, **named: Any) -> Any:
        try:
            return method(self, *values, **named)
        except Exception as error:
            self.dispatcher.error = self.dispatcher.error or error
            raise

    return hook


class PlannerSearcher(Searcher):
    """Hands out the planner's work. It gives nothing while the stage that a trial needs is not built."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self.dispatcher = dispatcher

    @_kept
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the configuration of a new trial of Tune's, None where nothing can start now."""
        return self.dispatcher.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the scheduler has told all."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the records are what is kept."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: every start plans afresh."""


class PlannerScheduler(FIFOScheduler):
    """Passes every result to the driver, and ends a trial of Tune's when its work is over or stopped early."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dispatcher = dispatcher

    @_kept
    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Take the messages of one step."""
        goes_on = self.dispatcher.took(trial.trial_id, result[MESSAGES])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    @_kept
    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:  # noqa: ARG002
        """Take that a worker died."""
        self.dispatcher.died(trial.trial_id, _last_error(trial))


class Watch(tune.Callback):
    """Tells the dispatcher when work starts, and has Tune forget results."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher

    @_kept
    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:  # noqa: ARG002
        """Take that a worker has its job."""
        self.dispatcher.began(trial.trial_id, trial.temporary_state.ray_actor)

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[TuneTrial],  # noqa: ARG002
        trial: TuneTrial,  # noqa: ARG002
        result: dict[str, Any],
        **_: Any,
    ) -> None:
        """Drop the messages, which the driver has."""
        result.pop(MESSAGES, None)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **_: Any) -> None:  # noqa: ARG002
        """Stop where the end was asked for."""
        self.dispatcher.check()


def _last_error(trial: TuneTrial) -> str:
    """Return the text that Tune has kept of a trial's last error, without the line above it that counts errors."""
    errors = Path(trial.error_file).read_text(encoding="utf-8").split("Failure # ")
    return errors[-1].partition("\n")[2]
