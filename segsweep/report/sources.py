"""How good the sources came out, so that a bad source model is not taken for a bad domain."""

import json

import pandas as pd

from segsweep.records.reader import Records

QUALITY = ("val_mean_iou", "contrastive_accuracy", "contrastive_chance", "knn_accuracy", "knn_accuracy_start", "knn_chance")
NAMES = ("stage", "model", "source_seed")
LENGTHS = ("epochs", "steps", "validations")  # of the settings; the steps that were made say them


def trained_sources(records: Records) -> pd.DataFrame:
    """Return one row per trained stage that the study's sources need.

    Columns: `stage` (the chain up to it), `model`, `source_seed`; the settings in which stages of one name differ;
    `train_images`, `steps`, and what it reached on held-out pictures of its own data: `val_mean_iou` of a supervised one; of a
    self-supervised one `contrastive_accuracy` beside `contrastive_chance`, and where there are labels `knn_accuracy`, beside the
    encoder's that it started from and the most frequent label's. Only those columns of quality that some stage has.
    """
    stages = records.stages[records.stages["stage_id"].isin(_needed(records))]
    trained = stages[(stages["status"] == "finished") & stages["steps"].notna()].reset_index(drop=True)
    settings = pd.DataFrame([json.loads(text) for text in trained["settings"]], index=trained.index)
    alike = settings.map(str).groupby([trained[name] for name in NAMES])
    varied = alike.nunique().gt(1).any()
    differing = [str(name) for name in varied.index[varied] if name not in LENGTHS]
    told = [name for name in QUALITY if trained[name].notna().any()]
    parts = [trained[list(NAMES)], settings[differing], trained[["train_images", "steps", *told]]]
    return pd.concat(parts, axis=1).sort_values([*NAMES, *differing], ignore_index=True)


def _needed(records: Records) -> set[str]:
    """Return the ids of the stages that planned trials start from, and of those before them."""
    before = dict(zip(records.stages["stage_id"], records.stages["parent_stage_id"], strict=True))
    needed: set[str] = set()
    waiting = set(records.trials.loc[records.trials["planned"], "stage_id"].dropna())
    while waiting:
        needed |= waiting
        waiting = {before[stage] for stage in waiting if stage in before and pd.notna(before[stage])} - needed
    return needed
