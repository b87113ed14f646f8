"""Work by several processes at once, each with its own device: Ray Train sets them up, torch's DDP joins them."""

import asyncio
import os
import tempfile
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import ray

from segsweep.sweep.perform import Failed, Message, is_last, perform
from segsweep.sweep.planner import Work
from segsweep.training.device import Device
from segsweep.training.world import World
from segsweep.workplace import Workplace

WAIT_SECONDS = 0.5  # how often to look whether the processes still run, while no message comes
QUICK = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


@ray.remote(num_cpus=0)
class Mailbox:
    """Where the processes leave messages, and the main one waits for whether to go on."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[bool] = asyncio.Queue()

    async def put(self, message: Message) -> None:
        """Leave a message."""
        await self._messages.put(message)

    async def goes_on(self) -> bool:
        """Wait for the answer to a message."""
        return await self._answers.get()

    async def take(self, seconds: float) -> Message | None:
        """Return the next message, None where none came in time."""
        try:
            return await asyncio.wait_for(self._messages.get(), seconds)
        except TimeoutError:
            return None

    async def answer(self, goes_on: bool) -> None:
        """Answer a message."""
        await self._answers.put(goes_on)


def perform_together(work: Work, place: Workplace, processes: int, cpus: float, gpus: float) -> Generator[Message, None, None]:
    """Yield the messages of a stage or a trial that several processes do together, each with so many cores and GPUs.

    They have ended before the last message comes. Closing it has them end after their current epoch. Raises what Ray
    Train raises where one of them dies.
    """
    mailbox = Mailbox.remote()  # type: ignore[attr-defined]  # ray.remote has no types for classes
    with ThreadPoolExecutor(max_workers=1) as thread:
        running = thread.submit(_train_together, mailbox, work, place, processes, cpus, gpus)
        try:
            while (message := _next_message(mailbox, running)) is not None and not is_last(message):
                yield message
                ray.get(mailbox.answer.remote(True))
        finally:
            ray.get(mailbox.answer.remote(False))
    if not isinstance(message, Failed):
        running.result()
    assert message is not None
    yield message


def _next_message(mailbox: Any, running: "Future[None]") -> Message | None:
    """Return the next message, None where the processes have ended and left none."""
    while True:
        ended = running.done()
        message: Message | None = ray.get(mailbox.take.remote(0.0 if ended else WAIT_SECONDS))
        if message is not None or ended:
            return message


def _train_together(mailbox: Any, work: Work, place: Workplace, processes: int, cpus: float, gpus: float) -> None:
    """Run the processes to their end. Raises what Ray Train raises where one of them dies or fails."""
    os.environ.update(QUICK)
    from ray.train import FailureConfig, RunConfig, ScalingConfig  # reads the environment
    from ray.train.torch import TorchConfig, TorchTrainer

    with tempfile.TemporaryDirectory(dir=place.store.temporary, prefix="train-", ignore_cleanup_errors=True) as folder:
        TorchTrainer(
            _each_process,
            train_loop_config={"work": work, "place": place, "mailbox": mailbox},
            scaling_config=ScalingConfig(
                num_workers=processes, use_gpu=gpus > 0, resources_per_worker={"CPU": cpus, **({"GPU": gpus} if gpus else {})}
            ),
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            run_config=RunConfig(name=work.identity, storage_path=folder, failure_config=FailureConfig(max_failures=0)),
        ).fit()


def _each_process(config: dict[str, Any]) -> None:
    """Do the work as one process of several; the main one tells what comes of it and asks whether to go on."""
    import ray.train
    import ray.train.torch

    context, mailbox = ray.train.get_context(), config["mailbox"]
    world = World(context.get_world_rank(), context.get_world_size())
    place: Workplace = config["place"]
    device = Device(str(ray.train.torch.get_device()), place.device.threads)
    for message in perform(config["work"], replace(place, device=device, world=world)):
        if isinstance(message, Failed):  # of whichever process it came
            ray.get(mailbox.put.remote(message))
            raise RuntimeError(message.reason)
        if world.main:
            ray.get(mailbox.put.remote(message))
        if not world.agree(world.main and ray.get(mailbox.goes_on.remote())):
            return
