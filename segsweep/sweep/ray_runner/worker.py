"""A warm worker: a process that takes one piece of work after the other, and keeps its libraries and its GPU context."""

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
    """What a worker gets: a task, its execution context, and the group of processes that performs it (None: it does).

    `keep` says that the group stays up for the next job. The worker runs on none of the `excluded` machines, and on one that
    passes the `check`.
    """

    assignment: Assignment
    context: ExecutionContext
    group: GroupSize | None
    keep: bool
    excluded: tuple[str, ...]
    check: MachineCheck


class Worker(tune.Trainable):
    """Performs a job step by step: each step returns the start, an epoch's result, or the messages of the end."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first job. Raises `UnfitMachineError` where this machine cannot work for the driver."""
        job = config["job"]
        job.check.require(job.context.device if job.group is None else None)  # a relay needs no GPU
        gc.freeze()  # what the libraries brought stays: collections look at what jobs leave, in no time
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
        """Take another job. An unforeseen error on a GPU can spoil all that follows: then this process is given up."""
        self._messages.close()
        if self._spoilt:
            raise RuntimeError("the process is replaced after an error on its GPU")
        self._start(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        """Return the next messages: the start of a task at once, so that others see where it runs during its first epoch."""
        messages = []
        for message in self._messages:
            messages.append(message)
            if not isinstance(message.body, Finished):
                break
        last = messages[-1].body
        self._spoilt = isinstance(last, Failed) and last.trace is not None and _on_gpu()
        return {MESSAGES: messages}

    def release(self) -> None:
        """Let go of the job, finished or not, and of the devices and the memory that others may need."""
        self._messages.close()
        if not self._job.keep:
            self._leave_group()
        gc.collect()
        if _on_gpu():
            torch.cuda.empty_cache()

    def cleanup(self) -> None:
        """End."""
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
