"""The adapters between Ray Tune's loop and the driver: a searcher that assigns tasks, and a scheduler that passes on results."""

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
from segsweep.sweep.ray_runner.call_names import CallNames
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
    """Maps each trial of Tune to the task that it executes, and passes its messages to the driver.

    A task is assigned only if enough workers are free for it or are requested from an autoscaler. A task that needs several
    workers waits until that many are free, and later tasks wait behind it. `error` is the first exception that the driver raised;
    Tune itself would keep only its text.
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
    names: CallNames = field(default_factory=CallNames)
    _next: Assignment | None = None  # a task that waits for enough free workers

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state: Tune pickles this object for its own restore, which is not used."""
        return {}

    def suggest(self, tune_id: str) -> dict[str, Any] | str | None:
        """Return the configuration of a new trial of Tune; None if no task can start now."""
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
        """Raise `KeyboardInterrupt` if the end was requested, after recording running tasks as interrupted."""
        if (reason := interruption().reason) is not None:
            self.interrupt(reason)
        interruption().raise_if_asked()

    def began(self, tune_id: str, actor: Any) -> None:
        """Note that a worker has received its job."""
        self.actors[tune_id] = actor
        self.names.begin(actor, self.running[tune_id])
        self.driver.begin(self.running[tune_id])

    def handle(self, tune_id: str, messages: list[Message]) -> bool:
        """Pass the messages of one step to the driver, and return whether the task continues."""
        task = self.running[tune_id]
        continues = all(self.driver.handle(task, message) for message in messages)
        if continues:
            self.names.update(self.actors[tune_id], task, messages)
        else:
            self.actors[tune_id].release.remote()  # at once, not only when the worker receives its next job
            self._forget(tune_id)
        return continues

    def died(self, tune_id: str, report: str) -> None:
        """Handle the death of a worker, or a failed start of one, from Ray's text about it."""
        if (task := self.running.get(tune_id)) is None:
            return
        self._forget(tune_id)
        death = death_of(report)
        unfit = death.unfit is not None and self._exclude(*death.unfit)
        self.machines.refresh()
        self.driver.died(task, death.reason, counts=not (death.with_machine or unfit))

    def _exclude(self, machine: str, problem: str) -> bool:
        """Exclude a machine (id or address) that cannot run segsweep; return whether the machine is at fault.

        The driver's own machine is never at fault, and no machine is if the driver itself does not find its beacon in the store.
        Raises `UserError` if no machine is left and there is no autoscaler to launch others.
        """
        identity = self.machines.find(machine)
        if identity in (None, self.machines.here) or self.machines.check.problem() is not None:
            return False
        self.machines.exclude(str(identity), problem)
        if self.capacity.report is None:
            self.machines.require_some()
        return True

    def interrupt(self, reason: str) -> None:
        """Record all running tasks as interrupted, and kill their workers at once, unless their cluster has gone."""
        for task in self.running.values():
            self.driver.interrupt(task, reason)
        for actor in self.actors.values() if not interruption().detail else ():
            ray.kill(actor)
        self.running, self.actors = {}, {}

    def _forget(self, tune_id: str) -> None:
        self.names.end(self.running.pop(tune_id))
        self.actors.pop(tune_id, None)


def _keeps_error(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a hook of Tune so that the dispatcher keeps the first exception that the driver raises."""

    def hook(self: Any, *values: Any, **named: Any) -> Any:
        try:
            return method(self, *values, **named)
        except Exception as error:
            self.dispatcher.error = self.dispatcher.error or error
            raise

    return hook


class PlannerSearcher(Searcher):
    """A searcher of Tune that returns the planner's tasks. A trial is not returned before the stage that it needs is built."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self.dispatcher = dispatcher

    @_keeps_error
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the configuration of a new trial of Tune; None if no task can start now."""
        return self.dispatcher.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the scheduler has already passed on every result."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study's state is in its records."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: every start makes a new plan from the records."""


class PlannerScheduler(FIFOScheduler):
    """A scheduler of Tune that passes every result to the driver, and stops a trial of Tune when its task has ended."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dispatcher = dispatcher

    @_keeps_error
    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Handle the messages of one step."""
        continues = self.dispatcher.handle(trial.trial_id, result[MESSAGES])
        return str(TrialScheduler.CONTINUE if continues else TrialScheduler.STOP)

    @_keeps_error
    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:  # noqa: ARG002
        """Handle the death of a worker."""
        self.dispatcher.died(trial.trial_id, _last_error(trial))


class Watch(tune.Callback):
    """A callback of Tune that notifies the dispatcher of started tasks, and removes handled messages from results."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher

    @_keeps_error
    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:  # noqa: ARG002
        """Notify the dispatcher that a worker has received its job."""
        self.dispatcher.began(trial.trial_id, trial.temporary_state.ray_actor)

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[TuneTrial],  # noqa: ARG002
        trial: TuneTrial,  # noqa: ARG002
        result: dict[str, Any],
        **_: Any,
    ) -> None:
        """Remove the messages, which the driver has handled."""
        result.pop(MESSAGES, None)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **_: Any) -> None:  # noqa: ARG002
        """Stop if the end was requested."""
        self.dispatcher.check()


def _last_error(trial: TuneTrial) -> str:
    """Return the text of a trial's last error from Tune's error file, without the line that numbers it."""
    errors = Path(trial.error_file).read_text(encoding="utf-8").split("Failure # ")
    return errors[-1].partition("\n")[2]
