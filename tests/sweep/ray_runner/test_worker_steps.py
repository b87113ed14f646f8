"""What a worker reports together, and what at once."""

from segsweep.sweep.ray_runner.worker import MESSAGES, Worker
from segsweep.tasks.messages import Done, Finished, Message, Started


def test_the_start_of_a_task_is_reported_at_once() -> None:
    """A long first epoch does not hide where a task runs; the end comes with what completes the record."""
    worker = object.__new__(Worker)
    worker._messages = iter([Message("t", Started({})), Message("t", Finished({})), Message(None, Done())])
    steps = [[type(message.body) for message in worker.step()[MESSAGES]] for _ in range(2)]
    assert steps == [[Started], [Finished, Done]]
