"""Continuation of shorter runs: a longer trial begins with the checkpoint that a shorter one kept."""

from pathlib import Path
from shutil import copyfile

from segsweep.config.shorter_run import ShorterRun
from segsweep.config.work import Trial
from segsweep.context import ExecutionContext
from segsweep.files import replacing
from segsweep.store.contents import CHECKPOINT_FILE
from segsweep.store.protocol import Store
from segsweep.tasks.trial_task import TrialTask


def continue_shorter(trial: Trial, into: Path, context: ExecutionContext) -> str | None:
    """Copy the kept checkpoint of the longest run that a trial can continue into the trial's own folder.

    Return the id of that run; None if there is none, or if the trial has a checkpoint already. Of several processes that train
    one model, the main one copies, and the others wait for it.
    """
    copied = _copy_longest(trial, into, context) if context.world.main else None
    return context.world.agree(copied)


def _copy_longest(trial: Trial, into: Path, context: ExecutionContext) -> str | None:
    if (into / CHECKPOINT_FILE).is_file():
        return None
    for length in sorted(context.shorter_runs, key=lambda each: -each.results):
        kept = kept_checkpoint(trial, length, context.store)
        if kept is not None:
            frames = sorted(path for path in kept.iterdir() if path.name != CHECKPOINT_FILE)
            for path in (*frames, kept / CHECKPOINT_FILE):  # the checkpoint last: it is what a resumed run looks for
                with replacing(into / path.name) as temporary:
                    copyfile(path, temporary)
            return length.of(trial).trial_id
    return None


def kept_checkpoint(trial: Trial, length: ShorterRun, store: Store) -> Path | None:
    """Return the folder with the checkpoint of a run of some length that a trial can continue; None if there is none."""
    if not length.begins(trial):
        return None
    kept = store.checkpoints(TrialTask(length.of(trial)).checkpoints_id(length.records_id)).find()
    return kept if kept is not None and (kept / CHECKPOINT_FILE).is_file() else None
