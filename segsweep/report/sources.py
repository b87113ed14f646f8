"""How good the sources came out, so that a bad source model is not taken for a bad domain."""

import pandas as pd

from segsweep.records.reader import Records

QUALITY = ("val_mean_iou", "contrastive_accuracy", "knn_accuracy", "knn_accuracy_start", "knn_chance")


def trained_sources(records: Records) -> pd.DataFrame:
    """Return one row per trained stage that the study's sources need, each after those that it starts from.

    Columns: `stage` (the chain up to it), `model`, `source_seed`, `train_images`, `epochs`, and what it reached on held-out
    pictures of its own data: `val_mean_iou` of a supervised one; of a self-supervised one `contrastive_accuracy`, and where
    there are labels `knn_accuracy`, beside the encoder's that it started from and the most frequent label's. Only those
    columns of quality that some stage has.
    """
    sources = set(records.trials.loc[records.trials["planned"], "source"].dropna())
    stages = records.stages
    needed = stages["stage"].map(lambda stage: any(f"{source}+".startswith(f"{stage}+") for source in sources)).astype(bool)
    trained = stages[needed & (stages["status"] == "finished") & stages["epochs"].notna()]
    told = [name for name in QUALITY if trained[name].notna().any()]
    found = trained[["stage", "model", "source_seed", "train_images", "epochs", *told]]
    return found.sort_values(["stage", "model", "source_seed"], ignore_index=True)
