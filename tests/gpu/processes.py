"""Several processes that work at the same time and answer through a queue."""

from collections.abc import Iterable
from multiprocessing import Queue
from multiprocessing.process import BaseProcess
from typing import Any


def answers(processes: Iterable[BaseProcess], queue: Queue, wait_seconds: float) -> list[Any]:
    """Start processes, and return the answer that each put into the queue with its rank, in the order of ranks.

    All processes have ended afterwards. Raises `queue.Empty` if one does not answer in time.
    """
    started = list(processes)
    for process in started:
        process.start()
    try:
        found = dict(queue.get(timeout=wait_seconds) for _ in started)
    finally:
        for process in started:
            process.join(timeout=5)
            process.kill()
    return [found[rank] for rank in range(len(started))]
