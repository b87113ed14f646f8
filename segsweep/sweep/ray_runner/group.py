"""A group of processes that execute a task together, one device each. Ray Train starts them; torch's DDP connects them."""

import os
import pickle
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import ray
import torch
from ray import cloudpickle

from segsweep.context import ExecutionContext
from segsweep.sweep.execute import execute
from segsweep.sweep.ray_runner.channel import Channel
from segsweep.sweep.ray_runner.machines import elsewhere_than
from segsweep.tasks.messages import Blocked, Failed, Lost, Message
from segsweep.tasks.task import Assignment
from segsweep.training.world import World

WAIT_SECONDS = 0.5  # interval between checks whether the processes still run, while no message arrives
END_SECONDS = 30.0
ENDS_GROUP = (Failed, Blocked, Lost)  # messages after which a process leaves, while the others still wait for it
LOST_ANOTHER = ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL")  # in errors of torch.distributed
QUICK = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


@dataclass(frozen=True)
class GroupSize:
    """The size of a group: its number of processes, the cores and GPUs of each, and the ids of machines to avoid."""

    processes: int
    cpus: float
    gpus: float
    excluded: tuple[str, ...] = ()


class Group:
    """Several processes that execute tasks together, one task after another."""

    def __init__(self, size: GroupSize, context: ExecutionContext) -> None:
        self.size = size
        self._channel = Channel.remote()  # type: ignore[attr-defined]  # ray.remote has no types for classes
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._running = self._thread.submit(_train_together, self._channel, size, context)
        self._failed = False

    @property
    def usable(self) -> bool:
        """Whether the processes can accept another job."""
        return not self._running.done() and not self._failed

    def execute(self, assignment: Assignment) -> Generator[Message, None, None]:
        """Execute a task, and yield its messages.

        If the generator is closed, the processes leave the task after their current epoch. Raises the exception of Ray Train if
        a process dies.
        """
        job = cloudpickle.dumps(assignment)  # type: ignore[no-untyped-call]
        ray.get(self._channel.put_job.remote(job))
        ended = False
        try:
            while not ended:
                message = self._next_message()
                ended = message.is_last
                self._failed = isinstance(message.body, ENDS_GROUP)
                yield message
                if not ended:
                    ray.get(self._channel.put_answer.remote(True))
        finally:
            if not ended:
                ray.get(self._channel.put_answer.remote(False))

    def _next_message(self) -> Message:
        while True:
            over = self._running.done()
            payload: bytes | None = ray.get(self._channel.get_message.remote(0.0 if over else WAIT_SECONDS))
            if payload is not None:
                message: Message = pickle.loads(payload)  # noqa: S301  # from our own processes
                return message
            if over:
                self._running.result()
                raise RuntimeError("the processes of a group ended without a message")

    def close(self) -> None:
        """End the processes, and wait until their devices are free."""
        ray.get(self._channel.put_job.remote(None))
        self._running.exception(timeout=END_SECONDS)  # ignored: an error was reported before
        self._thread.shutdown()
        ray.kill(self._channel)


def _train_together(channel: Any, size: GroupSize, context: ExecutionContext) -> None:
    """Run the processes until they end. Raises the exception of Ray Train if a process dies or fails."""
    os.environ.update(QUICK)
    from ray.train import FailureConfig, RunConfig, ScalingConfig  # reads the environment
    from ray.train.torch import TorchConfig, TorchTrainer

    environment = context.device.environment  # must be set before Ray Train starts NCCL
    each = {"CPU": size.cpus, **({"GPU": size.gpus} if size.gpus else {})}
    with context.store.scratch("train-") as folder:
        TorchTrainer(
            _each_process,
            train_loop_config={"context": context, "channel": channel},
            scaling_config=ScalingConfig(
                num_workers=size.processes,
                use_gpu=size.gpus > 0,
                resources_per_worker=each,
                label_selector=elsewhere_than(size.excluded),  # type: ignore[call-arg]  # newer than its types
            ),
            torch_config=TorchConfig(backend="nccl" if size.gpus else "gloo"),
            run_config=RunConfig(
                storage_path=str(folder),
                failure_config=FailureConfig(max_failures=0),
                worker_runtime_env={"env_vars": environment} if environment else None,  # type: ignore[call-arg]  # newer than its types
            ),
        ).fit()


def _each_process(config: dict[str, Any]) -> None:
    """Execute one job after another, as one process of the group."""
    import ray.train
    import ray.train.torch

    context, channel = ray.train.get_context(), config["channel"]
    world = World(context.get_world_rank(), context.get_world_size())
    device = replace(config["context"].device, name=str(ray.train.torch.get_device()))
    if device.cuda:
        torch.cuda.set_device(device.torch)  # the device on which NCCL exchanges objects
    context, jobs, answers = replace(config["context"], device=device, world=world), 0, 0
    while (job := ray.get(channel.get_job.remote(jobs))) is not None:
        jobs += 1
        messages = execute(pickle.loads(job), context)  # noqa: S301  # from our own driver
        for message in messages:
            if isinstance(message.body, Failed) and _lost_another(message.body):
                raise RuntimeError(message.body.reason)  # not the task's fault: the group is set up again
            if world.main or isinstance(message.body, ENDS_GROUP):  # any process that fails reports it
                ray.get(channel.put_message.remote(pickle.dumps(message)))
            if isinstance(message.body, ENDS_GROUP):
                raise RuntimeError(str(message))  # makes Ray Train end the other processes, which wait for this one
            if not message.is_last:
                continues = ray.get(channel.get_answer.remote(answers))
                answers += 1
                if not continues:
                    break
        messages.close()


def _lost_another(failed: Failed) -> bool:
    """Return whether a task failed because another process of the group has died."""
    return failed.trace is not None and any(sign in failed.trace for sign in LOST_ANOTHER)
