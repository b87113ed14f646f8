"""A warm worker: a process that takes one piece of work after the other, and keeps its libraries and its GPU context."""

import gc
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
from ray import tune

from segsweep.stage import Started
from segsweep.sweep.perform import Failed, Message, perform
from segsweep.sweep.planner import Work
from segsweep.sweep.ray_runner.group import perform_together
from segsweep.workplace import Workplace

MESSAGES = "messages"


@dataclass(frozen=True)
class Job:
    """What a worker is handed: work, where to do it, and by how many processes with how many cores and GPUs each."""

    work: Work
    place: Workplace
    processes: int
    cpus: float
    gpus: float


class Worker(tune.Trainable):
    """Does a job step by step: each step returns the messages up to the next epoch's result, or to the end."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first job."""
        gc.freeze()  # what the libraries brought stays: collections look at what jobs leave, in no time
        self._spoilt = False
        self._take(config["job"])

    def _take(self, job: Job) -> None:
        self._job = job
        self._messages: Generator[Message, None, None] = (
            perform_together(job.work, job.place, job.processes, job.cpus, job.gpus)
            if job.processes > 1
            else perform(job.work, job.place)
        )

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another job. An error on a GPU can spoil all that follows: then this process is given up."""
        self._messages.close()
        if self._spoilt:
            raise RuntimeError("the process is replaced after an error on its GPU")
        self._take(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        """Return the next messages."""
        messages = []
        for message in self._messages:
            messages.append(message)
            if not isinstance(message, Started):
                break
        self._spoilt = isinstance(messages[-1], Failed) and _on_gpu()
        return {MESSAGES: messages}

    def release(self) -> None:
        """Let go of the job, finished or not, and of the memory that it took on the GPU, which other workers may share."""
        self._messages.close()
        gc.collect()
        if _on_gpu():
            torch.cuda.empty_cache()

    def cleanup(self) -> None:
        """End."""
        self._messages.close()


def _on_gpu() -> bool:
    """Return whether this process has used a GPU."""
    used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return used
