"""How good the sources came out, so that a bad source model is not taken for a bad domain."""

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from segsweep.records import plan_status
from segsweep.records.study_records import Records

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
    trained = trained_stages(records)
    settings = pd.DataFrame([json.loads(text) for text in trained["settings"]], index=trained.index)
    alike = settings.map(str).groupby([trained[name] for name in NAMES])
    varied = alike.nunique().gt(1).any()
    differing = [str(name) for name in varied.index[varied] if name not in LENGTHS]
    measured = [name for name in QUALITY if trained[name].notna().any()]
    parts = [trained[list(NAMES)], settings[differing], trained[["train_images", "steps", *measured]]]
    return pd.concat(parts, axis=1).sort_values([*NAMES, *differing], ignore_index=True)


def trained_stages(records: Records) -> pd.DataFrame:
    """Return the records of the trained stages that finished and that the study's sources need."""
    stages = records.stages[records.stages["stage_id"].isin(_needed(records))]
    return stages[(stages["status"] == "finished") & stages["steps"].notna()].reset_index(drop=True)


def source_rates(records: Records) -> pd.DataFrame:
    """Return one row per source whose learning rate is tuned: `stage`, `model`, `learning_rate`, `at_edge`, and `tried`, a text.

    `tried` holds each rate, from the lowest, with its reading on the source's own validation split (see the setting `keep`);
    `at_edge` says that the lowest or the highest was chosen. Stages that differ between folds name theirs.
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
    several = frame.duplicated(["stage", "model"], keep=False)  # folds of which the source leaves out other images
    fold_names = frame["folds"].map(lambda folds: ", ".join(str(fold) for fold in dict.fromkeys(folds)))
    return frame.assign(stage=frame["stage"].where(~several, frame["stage"] + " (fold " + fold_names + ")")).drop(columns="folds")


def _reading(value: float | None) -> str:
    return "failed" if value is None else f"{value:.4f}"


def stage_names(records: Records) -> "pd.Series[str]":
    """Return for the id of every stage that the study's sources need, also of one that still runs, what tells it from others.

    That is the chain up to it and, where stages of one chain differ in them, its model, its settings, and those of the stages
    before it; source seeds share a name.
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
    """Return the ids of stages, and of all that come before them in their chains."""
    return plan_status.with_those_before(stage_ids, records.stages)


def _needed(records: Records) -> set[str]:
    """Return the ids of the stages that planned trials start from, and of those before them."""
    return with_those_before(records, records.trials["stage_id"].dropna())
