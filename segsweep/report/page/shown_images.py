"""Which test images a page shows, and their pixels, truth and predictions from the study's store."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from segsweep.data.dataset import Pixels
from segsweep.data.predictions import predicted_names, read_predictions
from segsweep.data.prepared import Prepared
from segsweep.errors import LostArtifactError, UserError
from segsweep.records.study_records import Records
from segsweep.store.contents import DATA, PREDICTIONS_FILE
from segsweep.store.protocol import Artifact, Store

QUANTILES = {0.0: "lowest IoU", 0.1: "10 % quantile", 0.5: "median IoU", 0.9: "90 % quantile"}
DISAGREEMENT = "largest disagreement"


@dataclass(frozen=True)
class ChosenImage:
    """The name of a test image, and why it is shown."""

    name: str
    reason: str


def chosen_images(records: Records, run: str, compared: str | None, kept: Collection[str]) -> list[ChosenImage]:
    """Return the images at the quantiles of one run's scores, and that on which it differs most from the run `compared`.

    Only images in `kept` count: those whose predictions are stored. No image appears twice.
    """
    scores = _scores(records, run, kept)
    if scores.empty:
        return []
    found: dict[str, str] = {}
    for quantile, reason in QUANTILES.items():
        found.setdefault(str(scores.index[round(quantile * (len(scores) - 1))]), reason)
    if compared is not None:
        others = _scores(records, compared, kept).reindex(scores.index)
        differences = (scores - others).abs().drop(list(found)).dropna()
        if len(differences) and differences.max() > 0:
            found[str(differences.idxmax())] = DISAGREEMENT
    return [ChosenImage(name, reason) for name, reason in found.items()]


def image_score(records: Records, run: str, image: str) -> float:
    """Return the IoU of one image in a run; NaN if it is undefined."""
    rows = records.images[(records.images["trial_id"] == run) & (records.images["image"] == image)]
    return float(rows["iou"].iloc[0]) if len(rows) and not pd.isna(rows["iou"].iloc[0]) else math.nan


def kept_names(model: Artifact) -> Collection[str]:
    """Return the names of the images whose predictions a model keeps; none for models of earlier versions."""
    path = model.folder / PREDICTIONS_FILE
    return predicted_names(path) if path.is_file() else []


def predictions_of(model: Artifact, names: Sequence[str]) -> dict[str, Pixels]:
    """Return the predicted masks of some images that a model keeps, by name."""
    path = model.folder / PREDICTIONS_FILE
    return dict(read_predictions(path, wanted=names)) if path.is_file() else {}


def target_data(records: Records, store: Store, names: Sequence[str]) -> Prepared | None:
    """Return the prepared target dataset with these images; None if the store no longer has it.

    The store may hold the dataset in several versions. The one is taken whose masks have the counts of pixels in the records;
    where the test used masks of another size, the names alone decide.
    """
    trial = records.trials.iloc[0]
    for key in store.keys(DATA):
        info = store.find(DATA, key)
        if info is None or info.metadata.get("dataset") != records.study["target"]["name"]:
            continue
        if info.metadata.get("image_px") != trial["image_px"]:
            continue
        try:
            data = Prepared.open(store.open(DATA, key, verify="changed").folder)
        except (LostArtifactError, UserError, OSError):
            continue
        if set(names) <= set(data.names) and _has_counts(data, records, names):
            return data
    return None


def resized(mask_HW: Pixels, like_HW: Pixels) -> Pixels:
    """Return a mask at the size of another one, by its nearest pixels."""
    if mask_HW.shape == like_HW.shape:
        return mask_HW
    height, width = like_HW.shape
    return np.asarray(Image.fromarray(mask_HW).resize((width, height), Image.Resampling.NEAREST))


def _scores(records: Records, run: str, kept: Collection[str]) -> "pd.Series[float]":
    rows = records.images[(records.images["trial_id"] == run) & records.images["image"].isin(list(kept))]
    return rows.dropna(subset=["iou"]).set_index("image")["iou"].astype("float64").sort_values(kind="stable")


def _has_counts(data: Prepared, records: Records, names: Sequence[str]) -> bool:
    """Return whether the masks of some images have the numbers of true pixels per class that the records have."""
    counts = records.counts[records.counts["image"].isin(list(names))]
    if counts.empty or (records.trials["test_size"] == "original").any():
        return True
    counts = counts[counts["trial_id"] == counts["trial_id"].iloc[0]]
    if not set(counts["class"]) <= set(data.classes):
        return False
    position = {name: place for place, name in enumerate(data.names)}
    true: Mapping[tuple[str, str], int] = counts.set_index(["image", "class"])["true"].to_dict()
    return all(
        int((data.masks[position[image]] == data.classes.index(name)).sum()) == pixels for (image, name), pixels in true.items()
    )
