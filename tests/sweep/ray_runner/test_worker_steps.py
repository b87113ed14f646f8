"""The messages that a worker reports together, and those that it reports at once."""

from segsweep.sweep.ray_runner.worker import MESSAGES, Worker
from segsweep.tasks.messages import Done, Finished, Message, Started


def test_the_start_of_a_task_is_reported_at_once() -> None:
    """A long first epoch does not hide where a task runs; the end of the task is reported together with that of its record."""
    worker = object.__new__(Worker)
    worker._messages = iter([Message("t", Started({})), Message("t", Finished({})), Message(None, Done())])
    steps = [[type(message.body) for message in worker.step()[MESSAGES]] for _ in range(2)]
    assert steps == [[Started], [Finished, Done]]
