"""Work by several processes at once, each with its own device: Ray Train sets them up, torch's DDP joins them."""

import asyncio
import os
import tempfile
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import ray

from segsweep.sweep.perform import Failed, Message, is_last, perform
from segsweep.sweep.planner import Work
from segsweep.training.device import Device
from segsweep.training.world import World
from segsweep.workplace import Workplace

WAIT_SECONDS = 0.5  # how often to look whether the processes still run, while no message comes
END_SECONDS = 30.0
QUICK = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


@dataclass(frozen=True)
class GroupSize:
    """How many processes work together, and how many cores and GPUs each of them has."""

    processes: int
    cpus: float
    gpus: float


@ray.remote(num_cpus=0)
class Mailbox:
    """Where the processes of a group find their jobs, leave messages, and learn whether to go on."""

    def __init__(self) -> None:
        self._jobs: list[Work | None] = []
        self._answers: list[bool] = []
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._news = asyncio.Condition()

    async def give(self, job: Work | None) -> None:
        """Add a job; None means that there will be no more."""
        async with self._news:
            self._jobs.append(job)
            self._news.notify_all()

    async def job(self, number: int) -> Work | None:
        """Wait for a job, by its number."""
        async with self._news:
            await self._news.wait_for(lambda: len(self._jobs) > number)
            return self._jobs[number]

    async def tell(self, message: Message) -> None:
        """Leave a message."""
        await self._messages.put(message)

    async def message(self, seconds: float) -> Message | None:
        """Return the next message, None where none came in time."""
        try:
            return await asyncio.wait_for(self._messages.get(), seconds)
        except TimeoutError:
            return None

    async def answer(self, goes_on: bool) -> None:
        """Say whether to go on after the next message that is not answered."""
        async with self._news:
            self._answers.append(goes_on)
            self._news.notify_all()

    async def goes_on(self, number: int) -> bool:
        """Wait for the answer to a message, by its number."""
        async with self._news:
            await self._news.wait_for(lambda: len(self._answers) > number)
            return self._answers[number]


class Group:
    """Several processes that do one piece of work after the other together."""

    def __init__(self, size: GroupSize, place: Workplace) -> None:
        self.size = size
        self._mailbox = Mailbox.remote()  # type: ignore[attr-defined]  # ray.remote has no types for classes
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._running = self._thread.submit(_train_together, self._mailbox, size, place)
        self._failed = False

    @property
    def usable(self) -> bool:
        """Whether the processes can take another job."""
        return not self._running.done() and not self._failed

    def perform(self, work: Work) -> Generator[Message, None, None]:
        """Yield the messages of a stage or a trial.

        Closing it has the processes leave the work after their current epoch. Raises what Ray Train raises where one of
        them dies.
        """
        ray.get(self._mailbox.give.remote(work))
        ended = False
        try:
            while not ended:
                message = self._next_message()
                ended = is_last(message)
                self._failed = isinstance(message, Failed)
                yield message
                if not ended:
                    ray.get(self._mailbox.answer.remote(True))
        finally:
            if not ended:
                ray.get(self._mailbox.answer.remote(False))

    def _next_message(self) -> Message:
        while True:
            over = self._running.done()
            message: Message | None = ray.get(self._mailbox.message.remote(0.0 if over else WAIT_SECONDS))
            if message is not None:
                return message
            if over:
                self._running.result()
                raise RuntimeError("the processes of a group ended without a word")

    def close(self) -> None:
        """Have the processes end, and wait until their devices are free."""
        ray.get(self._mailbox.give.remote(None))
        self._running.exception(timeout=END_SECONDS)  # what it was has been told
        self._thread.shutdown()
        ray.kill(self._mailbox)


def _train_together(mailbox: Any, size: GroupSize, place: Workplace) -> None:
    """Run the processes to their end. Raises what Ray Train raises where one of them dies or fails."""
    os.environ.update(QUICK)
    from ray.train import FailureConfig, RunConfig, ScalingConfig  # reads the environment
    from ray.train.torch import TorchConfig, TorchTrainer

    each = {"CPU": size.cpus, **({"GPU": size.gpus} if size.gpus else {})}
    with tempfile.TemporaryDirectory(dir=place.store.temporary, prefix="train-", ignore_cleanup_errors=True) as folder:
        TorchTrainer(
            _each_process,
            train_loop_config={"place": place, "mailbox": mailbox},
            scaling_config=ScalingConfig(num_workers=size.processes, use_gpu=size.gpus > 0, resources_per_worker=each),
            torch_config=TorchConfig(backend="nccl" if size.gpus else "gloo"),
            run_config=RunConfig(storage_path=folder, failure_config=FailureConfig(max_failures=0)),
        ).fit()


def _each_process(config: dict[str, Any]) -> None:
    """Do one job after the other, as one process of several."""
    import ray.train
    import ray.train.torch

    context, mailbox = ray.train.get_context(), config["mailbox"]
    world = World(context.get_world_rank(), context.get_world_size())
    device = Device(str(ray.train.torch.get_device()), config["place"].device.threads)
    place, jobs, told = replace(config["place"], device=device, world=world), 0, 0
    while (work := ray.get(mailbox.job.remote(jobs))) is not None:
        jobs += 1
        messages = perform(work, place)
        for message in messages:
            if world.main or isinstance(message, Failed):  # a failure is told by whichever process has it
                ray.get(mailbox.tell.remote(message))
            if isinstance(message, Failed):
                raise RuntimeError(message.reason)  # has Ray Train end the others, which wait for this one
            if not is_last(message):
                goes_on = ray.get(mailbox.goes_on.remote(told))
                told += 1
                if not goes_on:
                    break
        messages.close()
