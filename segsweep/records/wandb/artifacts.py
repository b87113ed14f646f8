"""Models and records as W&B artifacts."""

from pathlib import Path

import wandb

from segsweep.records.wandb.options import patience_seconds
from segsweep.store.contents import INDEX_FILE, WEIGHTS_FILE

SECONDS = round(10 * patience_seconds())  # for an artifact to arrive
MODEL, RECORDS = "model", "records"  # W&B's types of artifacts


def model(name: str, folder: Path, weights: bool) -> wandb.Artifact:
    """Return a stored model as an artifact: its index, and its weights if they are wanted.

    The index holds the weights' checksum, so that an artifact without weights still says which they were.
    """
    made = wandb.Artifact(name, type=MODEL)
    for file in (INDEX_FILE, WEIGHTS_FILE) if weights else (INDEX_FILE,):
        if (folder / file).is_file():
            made.add_file(str(folder / file), skip_cache=True)  # not "immutable": it would tell W&B the path
    return made
