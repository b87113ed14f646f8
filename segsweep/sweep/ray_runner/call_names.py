"""Names of workers' calls in Ray's dashboard, in `ray list tasks` and in process lists: the task, its progress and its device.

Ray names a call after its method, which is the same for all tasks. The name can be set per call, but Tune makes the calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segsweep.tasks.messages import Message, Started
from segsweep.tasks.task import Task

STEP = "train"  # the method of a worker that Tune calls for each step


@dataclass
class NamedMethod:
    """A method of a Ray actor whose calls have the present `name`."""

    method: Any
    name: str

    def remote(self, *values: Any, **named: Any) -> Any:
        """Call the method, and return the reference of its result."""
        return self.method.options(name=self.name).remote(*values, **named)


class CallNames:
    """Names the steps of the tasks that workers execute. `actor` is the handle through which Tune calls the worker."""

    def __init__(self) -> None:
        self._devices: dict[str, str] = {}  # id of a task -> its device

    def begin(self, actor: Any, task: Task) -> None:
        """Name the first step of a task, which prepares its start."""
        self._name(actor, f"segsweep: {task.describe()}")

    def update(self, actor: Any, task: Task, messages: Sequence[Message]) -> None:
        """Name the next step of a task, after a step with these messages."""
        done = 0
        for message in messages:
            if isinstance(message.body, Started):
                self._devices[task.identity] = str(message.body.facts.get("device", ""))
            done = getattr(message.body, "epoch", done)
        of_all = "" if task.results is None else f" of {task.results}"
        is_last = task.results is None or done == task.results
        epoch = f"after epoch {done}{of_all}" if is_last else f"epoch {done + 1}{of_all}"
        parts = [f"segsweep: {task.describe()}", *([epoch] if done or not is_last else [])]
        if device := self._devices.get(task.identity):
            parts.append(f"on {device}")
        self._name(actor, ", ".join(parts))

    def end(self, task: Task) -> None:
        """Forget a task that has left its worker."""
        self._devices.pop(task.identity, None)

    def _name(self, actor: Any, name: str) -> None:
        method = getattr(actor, STEP)
        if isinstance(method, NamedMethod):
            method.name = name
        else:
            setattr(actor, STEP, NamedMethod(method, name))
