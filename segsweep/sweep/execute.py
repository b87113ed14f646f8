"""Execution of a task in a worker. All runners use it and handle its messages alike."""

import traceback
from collections.abc import Generator
from importlib import import_module
from typing import Any

from segsweep.config.user_objects import register
from segsweep.context import ExecutionContext
from segsweep.errors import LostArtifactError, UserError
from segsweep.store.faults import fault_of
from segsweep.tasks.kinds import kind_of
from segsweep.tasks.messages import Blocked, Done, Failed, Lost, Message
from segsweep.tasks.task import Assignment
from segsweep.training.loop import NonFiniteLossError


def execute(assignment: Assignment, context: ExecutionContext) -> Generator[Message, None, None]:
    """Execute a task with the executor of its kind, and yield its messages. The last one is an error's message or `Done`.

    A value that an executor yields belongs to the task's first record, unless it is a `Message` that names another record.
    """
    register(context.user_objects)
    record = assignment.task.records[0]
    try:
        module, _, function = kind_of(assignment.task.kind).executor.partition(":")
        for body in getattr(import_module(module), function)(assignment.task, assignment.keys, context):
            yield body if isinstance(body, Message) else Message(record, body)
        yield Message(None, Done())
    except Exception as error:
        yield Message(None, message_of(error, assignment, context))


def message_of(error: Exception, assignment: Assignment, context: ExecutionContext) -> Failed | Blocked | Lost:
    """Classify an error of a task: a fault of the environment, a lost artifact, or a failure of the task."""
    if (fault := fault_of(error, context.store)) is not None:
        return Blocked(fault)
    if isinstance(error, LostArtifactError):
        return Lost(error.kind, error.key, error.reason)
    if isinstance(error, FileNotFoundError) and (lost := _lost_need(assignment, context)) is not None:
        return lost
    return failure_of(error)


def _lost_need(assignment: Assignment, context: ExecutionContext) -> Lost | None:
    """Return the needed artifact that has vanished from the store since the task opened it; None if all exist."""
    for need, key in zip(assignment.task.needs, assignment.keys, strict=True):
        kind = str(kind_of(need.kind).artifact)
        try:
            context.store.inspect(kind, key)
        except LostArtifactError as error:
            return Lost(error.kind, error.key, error.reason)
    return None


def failure_of(error: Exception) -> Failed:
    """Return the failure message of an error; without a traceback for a user's mistake or a non-finite loss."""
    if isinstance(error, UserError | NonFiniteLossError):
        return Failed(str(error))
    text: list[Any] = str(error).strip().splitlines()
    return Failed(f"{type(error).__name__}: {text[0] if text else ''}", "".join(traceback.format_exception(error)))
