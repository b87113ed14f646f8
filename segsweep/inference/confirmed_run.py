"""The confirmed runs of a study: the best one, one by its id, and their models in the store."""

from pathlib import Path

import pandas as pd

from segsweep.errors import LostArtifactError, UserError
from segsweep.records.confirmed_models import AGAIN, model_of
from segsweep.records.study_records import Records
from segsweep.report.cells import best_first
from segsweep.store.opening import open_store
from segsweep.store.protocol import Artifact, Store

IDS_SHOWN = 20


def store_of(records: Records, store: str | Path | None = None) -> Store:
    """Return the store in the folder `store`, by default the one that the study used. Raises `UserError` if it does not exist."""
    if (folder := store or records.study.get("store")) is None:
        raise UserError("--store: records from W&B do not name the store; give its folder")
    return open_store(folder, create=False)


def best_trial(records: Records) -> pd.Series:
    """Return the confirmed run with the best validation reading; test scores play no part.

    Raises `UserError` if no confirmed run has finished.
    """
    confirmed = _confirmed(records)
    chosen = confirmed[confirmed["chosen"]]
    if chosen.empty:
        raise UserError(f"{records.folder}: no confirmed run has finished; run the study first")
    return best_first(chosen).iloc[0]


def named_trial(records: Records, beginning: str) -> pd.Series:
    """Return the confirmed run whose id starts with `beginning`.

    Raises `UserError`, which lists the ids, unless exactly one id does.
    """
    confirmed = _confirmed(records)
    if not beginning:
        raise UserError(f"--trial: is empty; trials with weights: {_listed(confirmed)}")
    found = confirmed[confirmed["trial_id"].str.startswith(beginning)]
    if len(found) == 1:
        return found.iloc[0]
    if len(found):
        raise UserError(f"--trial {beginning}: several ids start with it: {_listed(found)}; give more digits")
    others = records.all_trials[records.all_trials["trial_id"].str.startswith(beginning)]
    if len(others):
        kind = f"{others['phase'].iloc[0]}, {others['status'].iloc[0]}"
        reason = f"this run ({kind}) keeps no weights, only finished confirmed runs do"
    else:
        reason = f"no trial of {records.folder} has this id"
    raise UserError(f"--trial {beginning}: {reason}; trials with weights: {_listed(confirmed)}")


def _confirmed(records: Records) -> pd.DataFrame:
    trials = records.trials
    return trials[(trials["phase"] == "confirm") & (trials["status"] == "finished")]


def _listed(trials: pd.DataFrame) -> str:
    more = f" and {len(trials) - IDS_SHOWN} more in the records" if len(trials) > IDS_SHOWN else ""
    return ", ".join(trials["trial_id"][:IDS_SHOWN]) + more if len(trials) else "none yet"


def find_weights(trial: pd.Series, store: Store) -> Artifact:
    """Return a confirmed run's verified model. Raises `UserError` if it is missing in the store, or damaged."""
    try:
        return model_of({str(column): value for column, value in trial.items()}, store)
    except LostArtifactError as error:
        again = AGAIN if trial["planned"] else "choose another trial: the study no longer plans this one"
        raise UserError(f"the model of trial {trial['trial_id']} {error.reason}; pass another --store, or {again}") from None
