"""Models and records as W&B artifacts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from segsweep.records.wandb.options import patience_seconds

INDEX, WEIGHTS = "artifact.json", "weights.safetensors"  # the names in the store
SECONDS = round(10 * patience_seconds())  # for an artifact to arrive
MODEL, RECORDS = "model", "records"  # W&B's types of artifacts


def metadata_of(artifact: Path) -> Mapping[str, Any]:
    """Return what the store tells of an artifact, empty where it has none (any more)."""
    index = artifact / INDEX
    return json.loads(index.read_text(encoding="utf-8"))["metadata"] if index.is_file() else {}


def model(name: str, artifact: Path, weights: bool) -> wandb.Artifact | None:
    """Return a stored model as an artifact: its index, and its weights if they are wanted. None where the store has it no more.

    The index holds the weights' checksum, so that an artifact without weights still says which they were.
    """
    if not (artifact / INDEX).is_file():
        return None
    made = wandb.Artifact(name, type=MODEL)
    for file in (INDEX, WEIGHTS) if weights else (INDEX,):
        if (artifact / file).is_file():
            made.add_file(str(artifact / file), skip_cache=True)  # not "immutable": it would tell W&B the path
    return made
