"""A warm worker: a process that executes one job after another, and keeps its libraries and its GPU context loaded."""

import gc
from dataclasses import dataclass
from typing import Any

import torch
from ray import tune

from segsweep.context import ExecutionContext
from segsweep.sweep.execute import execute
from segsweep.sweep.ray_runner.group import Group, GroupSize
from segsweep.sweep.ray_runner.machines import MachineCheck
from segsweep.tasks.messages import Failed, Finished
from segsweep.tasks.task import Assignment

MESSAGES = "messages"


@dataclass(frozen=True)
class Job:
    """The job of a worker: a task, its execution context, and the size of the group that executes it.

    Without a `group`, the worker executes the task itself. `keep` states whether the group is kept for the next job. The worker
    does not run on `excluded` machines, and its machine must pass the `check`.
    """

    assignment: Assignment
    context: ExecutionContext
    group: GroupSize | None
    keep: bool
    excluded: tuple[str, ...]
    check: MachineCheck


class Worker(tune.Trainable):
    """A trainable of Tune that executes jobs in steps: a step returns the start, an epoch's result, or the last messages."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start the first job. Raises `UnfitMachineError` if this machine cannot work for the driver."""
        job = config["job"]
        job.check.require(job.context.device if job.group is None else None)  # a worker that only relays needs no GPU
        gc.freeze()  # exclude the libraries' objects from garbage collection, which is then fast
        self._spoilt = False
        self._group: Group | None = None
        self._start(job)

    def _start(self, job: Job) -> None:
        self._job = job
        if job.group is None:
            self._messages = execute(job.assignment, job.context)
            return
        if self._group is None or not self._group.usable or self._group.size != job.group:
            self._leave_group()
            self._group = Group(job.group, job.context)
        self._messages = self._group.execute(job.assignment)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next job. Raises `RuntimeError` after an unexpected error on a GPU, so that this process is replaced.

        Such an error can corrupt the state of the GPU for all later jobs.
        """
        self._messages.close()
        if self._spoilt:
            raise RuntimeError("the process is replaced after an error on its GPU")
        self._start(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        """Return the next messages.

        The start of a task is returned at once, so that `segsweep status` shows its worker during the first epoch.
        """
        messages = []
        for message in self._messages:
            messages.append(message)
            if not isinstance(message.body, Finished):
                break
        last = messages[-1].body
        self._spoilt = isinstance(last, Failed) and last.trace is not None and _on_gpu()
        return {MESSAGES: messages}

    def release(self) -> None:
        """Release the job, even if it has not ended, and free the devices and the memory that other processes may need."""
        self._messages.close()
        if not self._job.keep:
            self._leave_group()
        gc.collect()
        if _on_gpu():
            torch.cuda.empty_cache()

    def cleanup(self) -> None:
        """End the job and the group before the process ends."""
        self._messages.close()
        self._leave_group()

    def _leave_group(self) -> None:
        if self._group is not None:
            self._group.close()
            self._group = None


def _on_gpu() -> bool:
    """Return whether this process has used a GPU."""
    used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return used
