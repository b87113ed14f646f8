"""The channel between a worker and its group of processes. It stores pickled bytes, so its own process needs no torch."""

import asyncio

import ray


@ray.remote(num_cpus=0)
class Channel:
    """Passes jobs to the processes of a group, their messages to the worker, and the worker's answers back to them."""

    def __init__(self) -> None:
        self._jobs: list[bytes | None] = []
        self._answers: list[bool] = []
        self._messages: asyncio.Queue[bytes] = asyncio.Queue()
        self._changed = asyncio.Condition()

    async def put_job(self, job: bytes | None) -> None:
        """Add a job; None means that no more jobs follow."""
        async with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    async def get_job(self, number: int) -> bytes | None:
        """Wait for the job with a number, from 0, and return it."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._jobs) > number)
            return self._jobs[number]

    async def put_message(self, message: bytes) -> None:
        """Add a message."""
        await self._messages.put(message)

    async def get_message(self, seconds: float) -> bytes | None:
        """Return the next message; None if none arrives within the time limit."""
        try:
            return await asyncio.wait_for(self._messages.get(), seconds)
        except TimeoutError:
            return None

    async def put_answer(self, continues: bool) -> None:
        """Answer the oldest unanswered message: whether the task continues."""
        async with self._changed:
            self._answers.append(continues)
            self._changed.notify_all()

    async def get_answer(self, number: int) -> bool:
        """Wait for the answer to the message with a number, from 0, and return it."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._answers) > number)
            return self._answers[number]
