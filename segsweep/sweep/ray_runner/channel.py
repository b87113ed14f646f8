"""The channel of a group. It holds pickled jobs and messages, so that its process needs no torch."""

import asyncio

import ray


@ray.remote(num_cpus=0)
class Channel:
    """Where the processes of a group find their jobs, leave messages, and learn whether to go on."""

    def __init__(self) -> None:
        self._jobs: list[bytes | None] = []
        self._answers: list[bool] = []
        self._messages: asyncio.Queue[bytes] = asyncio.Queue()
        self._changed = asyncio.Condition()

    async def put_job(self, job: bytes | None) -> None:
        """Add a job; None means that there will be no more."""
        async with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    async def get_job(self, number: int) -> bytes | None:
        """Wait for a job, by its number."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._jobs) > number)
            return self._jobs[number]

    async def put_message(self, message: bytes) -> None:
        """Leave a message."""
        await self._messages.put(message)

    async def get_message(self, seconds: float) -> bytes | None:
        """Return the next message, None where none came in time."""
        try:
            return await asyncio.wait_for(self._messages.get(), seconds)
        except TimeoutError:
            return None

    async def put_answer(self, goes_on: bool) -> None:
        """Say whether to go on after the next message that is not answered."""
        async with self._changed:
            self._answers.append(goes_on)
            self._changed.notify_all()

    async def get_answer(self, number: int) -> bool:
        """Wait for the answer to a message, by its number."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._answers) > number)
            return self._answers[number]
