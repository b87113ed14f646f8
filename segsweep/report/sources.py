"""Quality of the trained sources, to distinguish a badly trained source model from an unsuitable domain."""

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from segsweep.records import plan_status
from segsweep.records.study_records import Records

QUALITY = ("val_mean_iou", "contrastive_accuracy", "contrastive_chance", "knn_accuracy", "knn_accuracy_start", "knn_chance")
NAMES = ("stage", "model", "source_seed")
LENGTHS = ("epochs", "steps", "validations")  # settings that the column `steps` (optimiser steps taken) replaces


def trained_sources(records: Records) -> pd.DataFrame:
    """Return one row per trained stage that the study's sources need.

    Columns: `stage` (the chain up to it), `model`, `source_seed`; the settings in which stages of the same name differ;
    `train_images`, `steps`; and its quality on held-out images of its own dataset. That is `val_mean_iou` for a supervised stage;
    `contrastive_accuracy` and `contrastive_chance` for a self-supervised stage, and, if its dataset has labels, `knn_accuracy`,
    `knn_accuracy_start` (of the encoder before the stage) and `knn_chance` (share of the most frequent label). Quality columns
    that no stage has are omitted.
    """
    trained = trained_stages(records)
    settings = pd.DataFrame([json.loads(text) for text in trained["settings"]], index=trained.index)
    alike = settings.map(str).groupby([trained[name] for name in NAMES])
    varied = alike.nunique().gt(1).any()
    differing = [str(name) for name in varied.index[varied] if name not in LENGTHS]
    measured = [name for name in QUALITY if trained[name].notna().any()]
    parts = [trained[list(NAMES)], settings[differing], trained[["train_images", "steps", *measured]]]
    return pd.concat(parts, axis=1).sort_values([*NAMES, *differing], ignore_index=True)


def trained_stages(records: Records) -> pd.DataFrame:
    """Return the records of the finished, trained stages that the study's sources need."""
    stages = records.stages[records.stages["stage_id"].isin(_needed(records))]
    return stages[(stages["status"] == "finished") & stages["steps"].notna()].reset_index(drop=True)


def source_rates(records: Records) -> pd.DataFrame:
    """Return one row per source whose learning rate is tuned: `stage`, `model`, `learning_rate`, `at_edge`, and `tried`, a text.

    `tried` lists each rate in ascending order with its reading on the source's own validation split (see the setting `keep`).
    `at_edge` is True if the lowest or the highest rate was chosen. If stages differ between folds, `stage` includes the folds.
    """
    models = dict(zip(records.stages["stage_id"], records.stages["model"], strict=True))
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for choice in records.choices.values():
        if (source := choice.get("source")) is not None:
            ids = tuple(each["stage_id"] for each in source["tried"])
            by_rate = sorted(source["tried"], key=lambda each: each["learning_rate"])
            tried = "; ".join(f"{each['learning_rate']:.3g}: {_reading(each['reading'])}" for each in by_rate)
            model = next((models[each] for each in ids if each in models), "")
            extreme = source["learning_rate"] in (by_rate[0]["learning_rate"], by_rate[-1]["learning_rate"])
            row = {"stage": source["stage"], "model": model, "learning_rate": source["learning_rate"], "at_edge": extreme}
            rows.setdefault(ids, {**row, "tried": tried, "folds": []})["folds"].append(choice.get("fold"))
    frame = pd.DataFrame(rows.values(), columns=["stage", "model", "learning_rate", "at_edge", "tried", "folds"])
    several = frame.duplicated(["stage", "model"], keep=False)  # stages differ by fold if each fold removes other source images
    fold_names = frame["folds"].map(lambda folds: ", ".join(str(fold) for fold in dict.fromkeys(folds)))
    return frame.assign(stage=frame["stage"].where(~several, frame["stage"] + " (fold " + fold_names + ")")).drop(columns="folds")


def _reading(value: float | None) -> str:
    return "failed" if value is None else f"{value:.4f}"


def stage_names(records: Records) -> "pd.Series[str]":
    """Return a distinguishing name for the id of every stage that the study's sources need, including running ones.

    The name is the chain up to the stage and, if stages of the same chain differ in them, its model, its settings, and the
    settings of the stages before it. Stages that differ only in the source seed share a name.
    """
    rows = records.stages.drop_duplicates("stage_id").set_index("stage_id", drop=False)
    of_id = rows.to_dict("index")

    def all_settings(stage_id: object) -> dict[str, Any]:
        row = of_id[stage_id]
        before = all_settings(row["parent_stage_id"]) if row["parent_stage_id"] in of_id else {}
        settings = {"model": row["model"], **json.loads(row["settings"])}
        return {**settings, **{f"earlier {name}": value for name, value in before.items()}}

    names = {}
    for chain, stages in rows[rows.index.isin(_needed(records))].groupby("stage", sort=False):
        each = {str(stage_id): all_settings(stage_id) for stage_id in stages.index}
        differing = [name for name in next(iter(each.values())) if len({str(one.get(name)) for one in each.values()}) > 1]
        for stage_id, one in each.items():
            names[stage_id] = ", ".join([str(chain), *(f"{name.replace('_', ' ')} {one.get(name)}" for name in differing)])
    return pd.Series(names, dtype="string")


def with_those_before(records: Records, stage_ids: Iterable[str]) -> set[str]:
    """Return the ids of stages and of all stages before them in their chains."""
    return plan_status.with_those_before(stage_ids, records.stages)


def _needed(records: Records) -> set[str]:
    """Return the ids of the stages that planned trials start from, and of the stages before them."""
    return with_those_before(records, records.trials["stage_id"].dropna())
