"""Doing a piece of work: the messages that come of it, the same for every runner."""

import traceback
from collections.abc import Generator
from dataclasses import dataclass

from segsweep.config.user_objects import register
from segsweep.context import ExecutionContext
from segsweep.errors import LostArtifactError, UserError
from segsweep.stage import Elsewhere, Result, StageOutcome, Started, build_stage
from segsweep.sweep.trouble import Trouble, trouble_of
from segsweep.sweep.work import StageWork, Work
from segsweep.training.loop import NonFiniteLossError
from segsweep.trial import TrialOutcome, run_trial


@dataclass(frozen=True)
class Failed:
    """Why a stage or a trial came to no end, and the traceback where the reason alone does not explain it."""

    reason: str
    trace: str | None = None

    @classmethod
    def of(cls, error: Exception) -> "Failed":
        """Return the failure that an error means."""
        if isinstance(error, UserError | NonFiniteLossError):
            return cls(str(error))
        text = str(error).strip().splitlines()
        return cls(f"{type(error).__name__}: {text[0] if text else ''}", "".join(traceback.format_exception(error)))


@dataclass(frozen=True)
class Hindered:
    """What of the environment kept a stage or a trial from going on: nothing is wrong with it, and its checkpoints are kept."""

    trouble: Trouble


@dataclass(frozen=True)
class Lost:
    """An artifact that a stage or a trial needs, and that the store has no more: it is to be built again."""

    kind: str
    key: str
    reason: str


Message = Started | Result | StageOutcome | TrialOutcome | Elsewhere | Failed | Hindered | Lost


def execute(work: Work, context: ExecutionContext) -> Generator[Message, None, None]:
    """Yield the messages of a stage or a trial as it is done. An error is the last message."""
    register(context.own)
    try:
        if isinstance(work, StageWork):
            yield from build_stage(work.spec, work.parent_key, context)
        else:
            yield from run_trial(work.trial, work.source_key, context)
    except Exception as error:
        yield _message_of(error, context)


def _message_of(error: Exception, context: ExecutionContext) -> Failed | Hindered | Lost:
    """Return what an error means: that the environment is in trouble, that an artifact is lost, or that the work has failed."""
    if (trouble := trouble_of(error, context.store.root)) is not None:
        return Hindered(trouble)
    if isinstance(error, LostArtifactError):
        return Lost(error.kind, error.key, error.reason)
    return Failed.of(error)


def is_last(message: Message) -> bool:
    """Return whether nothing follows a message."""
    return not isinstance(message, Started | Result)
