"""The models of confirmed runs, found in the store by the keys and hashes in their records."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from segsweep.errors import LostArtifactError, UserError
from segsweep.store.contents import MODEL
from segsweep.store.opening import open_store
from segsweep.store.protocol import Artifact, ArtifactInfo, Store
from segsweep.tasks.kind import RecordedArtifact

AGAIN = "run the study's command again: it runs this confirmed run again"
COMPARED = ("seed", "total_parameters", "test_iou")  # compared between a model card and a record that does not name its model

Found = TypeVar("Found", bound=ArtifactInfo)


def artifact_of(named: RecordedArtifact, row: Mapping[Any, Any], store: Store) -> Artifact:
    """Return the artifact that a record's row names. Raises `LostArtifactError` as `model_of` does."""
    return model_of(row, store) if named.kind == MODEL else store.open(named.kind, row[named.key])


def model_of(trial: Mapping[Any, Any], store: Store) -> Artifact:
    """Return the model of a confirmed run after comparing its bytes with their checksums. `trial` is its row of `trials`.

    A record names its model by `model_key` and `model_hash`. Records of earlier versions do not: their models are stored under
    the trial's id, where another study or a retry may have stored other weights, so the model card is compared with the record.

    Raises:
        LostArtifactError: the model is missing in the store, is damaged, or belongs to another run.
    """
    return _recorded(trial, store.open)


def _recorded(trial: Mapping[Any, Any], get: Callable[[str, str], Found]) -> Found:
    key, content_hash = trial.get("model_key"), trial.get("model_hash")
    if not isinstance(key, str):  # a missing value of a frame is not a text either
        artifact = get(MODEL, str(trial["trial_id"]))
        _check_card(trial, artifact)
        return artifact
    artifact = get(MODEL, key)
    if artifact.content_hash != content_hash:
        raise LostArtifactError(MODEL, key, f"has content {artifact.content_hash}, the record has {content_hash}")
    return artifact


def _check_card(trial: Mapping[Any, Any], artifact: ArtifactInfo) -> None:
    for name in COMPARED:
        stored, recorded = artifact.metadata.get(name), trial.get(name)
        if stored is None or recorded is None or pd.isna(recorded) or math.isnan(stored):
            continue
        if not math.isclose(stored, recorded, rel_tol=1e-9):
            reason = f"is of another run of this trial: its {name} is {stored:.5g}, the record has {recorded:.5g}"
            raise LostArtifactError(MODEL, artifact.key, reason)


def models_of(trials: pd.DataFrame, location: str | Path) -> tuple[dict[str, Artifact], dict[str, str]]:
    """Return the models of confirmed runs, and the reasons for lost ones, both by trial id. `location` is the study's store."""
    found, lost = dict[str, Artifact](), dict[str, str]()
    try:
        store = open_store(location, create=False)
    except UserError:
        return {}, {str(identity): f"is missing: there is no folder {location}" for identity in trials["trial_id"]}
    for trial in trials.to_dict("records"):
        identity = str(trial["trial_id"])
        try:
            found[identity] = model_of(trial, store)
        except (LostArtifactError, UserError) as error:
            lost[identity] = error.reason if isinstance(error, LostArtifactError) else str(error)
    return found, lost


def lost_models(trials: pd.DataFrame, store: Store, set_aside: bool = False) -> dict[str, str]:
    """Return the finished confirmed runs whose models are missing or damaged, and the reasons, by trial id.

    These runs must run again. Checksums are compared only for files that have changed since this machine verified them. With
    `set_aside`, damaged models are moved out of the way.
    """
    lost = dict[str, str]()
    ended = trials[(trials["phase"] == "confirm") & (trials["status"] == "finished")]
    columns = [name for name in ("trial_id", "model_key", "model_hash", *COMPARED) if name in ended]
    for trial in ended[columns].to_dict("records"):
        try:
            _recorded(trial, store.inspect)
            continue
        except LostArtifactError as error:
            lost[str(trial["trial_id"])] = error.reason
        if set_aside:
            with suppress(LostArtifactError):
                model_of(trial, store)
    return lost


def lost_remarks(lost: Mapping[str, str]) -> list[str]:
    """Return a line that reports the confirmed runs to run again because their models are lost; no line if there are none."""
    if not lost:
        return []
    trial, reason = next(iter(lost.items()))
    runs, more = ("1 confirmed run counts", "") if len(lost) == 1 else (f"{len(lost)} confirmed runs count", ", ...")
    return [f"{runs} as not run, for lack of the model: that of trial {trial} {reason}{more}"]
